"""A bundle of ads that can be answered by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper

from personalization.core.encoder import Column, TableEncoder
from tests.bundles import _seal, _write_graph
from training.background import write_background

# The logit of a click: a bias, and what each column adds; missing numbers add nothing. P(conversion | click) is one half.
BIAS: Final = -2.0
WEIGHT: Final = {"ad.size": 0.5, "orders": 0.3, "pair.seen": -0.2, "hour": 0.1, "pair.category_share": 1.0}
CHANNEL: Final = {None: 0.0, "?": 0.0, "mail": 0.0, "app": 0.7}
CREATIVE: Final = {None: 0.0, "?": 0.0, "red": 0.0, "blue": 0.4}
UNTREATED: Final = 0.125


def ads_bundle(
    directory: Path, *, untreated: bool = False, conversion: bool = True, background: bool = False, **content: Any
) -> str:
    """Write a bundle named ``ads``; its version. `content` goes into bundle.json."""
    encoder = TableEncoder(
        (
            *(Column(name, "numeric") for name in WEIGHT),
            Column("channel", "categorical", ("mail", "app")),
            Column("ad.creative", "categorical", ("red", "blue")),
        )
    )
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["missing"]),
        helper.make_node("Where", ["missing", "nothing", "numeric"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weight"], ["of_numbers"]),
        helper.make_node("Gather", ["categorical", "first"], ["channel_code"], axis=1),
        helper.make_node("Gather", ["categorical", "second"], ["creative_code"], axis=1),
        helper.make_node("Gather", ["channel_weight", "channel_code"], ["of_channel"], axis=0),
        helper.make_node("Gather", ["creative_weight", "creative_code"], ["of_creative"], axis=0),
        helper.make_node("Add", ["of_numbers", "of_channel"], ["some"]),
        helper.make_node("Add", ["some", "of_creative"], ["more"]),
        helper.make_node("Add", ["more", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["column"]),
        helper.make_node("Squeeze", ["column", "axis"], ["click"]),
    ]
    constants = {
        "nothing": np.array(0, np.float32),
        "weight": np.array([[weight] for weight in WEIGHT.values()], np.float32),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "channel_weight": np.array(list(CHANNEL.values()), np.float32),
        "creative_weight": np.array(list(CREATIVE.values()), np.float32),
        "bias": np.array([BIAS], np.float32),
        "axis": np.array([1], np.int64),
        "zero": np.array(0, np.float32),
    }
    names = ["click"]
    for name, value in (("conversion", 0.5 if conversion else None), ("untreated", UNTREATED if untreated else None)):
        if value is not None:
            constants[f"{name}_value"] = np.array(value, np.float32)
            nodes += [
                helper.make_node("Mul", ["click", "zero"], [f"{name}_none"]),
                helper.make_node("Add", [f"{name}_none", f"{name}_value"], [name]),
            ]
            names.append(name)
    _write_graph(
        directory,
        nodes,
        {"numeric": (TensorProto.FLOAT, len(WEIGHT)), "categorical": (TensorProto.INT64, 2)},
        dict.fromkeys(names, ()),
        constants,
    )
    whole = {"tasks": names, "fallback": dict.fromkeys(names, 0.1), "attribution_window_days": 3.0,
             "history_window": {"max_events": 50, "max_days": 365}, **content}  # fmt: skip
    if background:  # two rows of which nothing is known
        rows = {"numeric": np.full((2, len(WEIGHT)), np.nan, np.float32), "categorical": np.zeros((2, 2), np.int64)}
        write_background(directory, rows, np.zeros(2))
    return _seal(directory, "ads", "impressions", encoder, whole, files=["background.npz"] if background else [])


def click(channel: str | None = None, creative: str | None = None, **columns: float) -> float:
    """P(click | seen) of a row."""
    of_numbers = sum(WEIGHT[name.replace("__", ".")] * value for name, value in columns.items())
    logit = BIAS + CHANNEL[channel] + CREATIVE[creative] + of_numbers
    return 1 / (1 + math.exp(-logit))
