"""Contributions against a brute-force Shapley value over every order."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from personalization.bundles.bundle import Bundle
from personalization.core.encoder import Column, TableEncoder
from personalization.tabular.shapley import ShapleyValues, shapley_values

WEIGHTS = np.array([[1.5], [-0.7], [0.3]], np.float32)
PAIR = 0.9  # of the first two columns' product: something that no single column is guilty of


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """logit = numeric · WEIGHTS + PAIR · x0 · x1"""
    nodes = [
        helper.make_node("MatMul", ["numeric", "w"], ["linear"]),
        helper.make_node("Gather", ["numeric", "zero"], ["x0"], axis=1),
        helper.make_node("Gather", ["numeric", "one"], ["x1"], axis=1),
        helper.make_node("Mul", ["x0", "x1"], ["product"]),
        helper.make_node("Mul", ["product", "pair"], ["crossed"]),
        helper.make_node("Add", ["linear", "crossed"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants = [
        numpy_helper.from_array(WEIGHTS, "w"),
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array(PAIR, np.float32), "pair"),
    ]
    graph = helper.make_graph(
        nodes,
        "crossed",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows", 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    columns = TableEncoder(tuple(Column(name, "numeric") for name in ("a", "b", "c"))).to_json()
    return Bundle(Path(), {"columns": columns, "files": {}}, "0" * 64, session)


BACKGROUND = {"numeric": np.random.default_rng(1).normal(size=(64, 3)).astype(np.float32)}
ROW = {"numeric": np.array([[1.2, -0.4, 2.0]], np.float32)}


def logit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x @ WEIGHTS[:, 0] + PAIR * x[:, 0] * x[:, 1]


def brute_force() -> NDArray[np.float64]:
    """Over all 3! orders and all background rows."""
    contributions = np.zeros(3)
    for order in itertools.permutations(range(3)):
        x = BACKGROUND["numeric"].copy()
        before = logit(x)
        for column in order:
            x[:, column] = ROW["numeric"][0, column]
            after = logit(x)
            contributions[column] += float((after - before).mean()) / 6
            before = after
    return contributions


def told(bundle: Bundle, **options: Any) -> ShapleyValues:
    return shapley_values(bundle, ROW, BACKGROUND, lambda outputs: outputs["probability"][:, 0], **options)


def test_contributions_sum_to_logit_minus_base(bundle: Bundle) -> None:
    answer = told(bundle)
    assert answer.base == pytest.approx(float(logit(BACKGROUND["numeric"]).mean()), abs=1e-4)
    assert answer.logit == pytest.approx(float(logit(ROW["numeric"])[0]), abs=1e-4)
    assert answer.contributions.sum() == pytest.approx(answer.logit - answer.base, abs=1e-4)


def test_they_agree_with_every_order_within_their_error(bundle: Bundle) -> None:
    answer = told(bundle, rounds=40)
    np.testing.assert_array_less(np.abs(answer.contributions - brute_force()), 4 * answer.standard_error + 1e-4)
    assert np.argmax(np.abs(answer.contributions)) == np.argmax(np.abs(brute_force()))
    assert answer.names == ("a", "b", "c")


def test_the_same_seed_says_the_same(bundle: Bundle) -> None:
    np.testing.assert_array_equal(told(bundle, seed=3).contributions, told(bundle, seed=3).contributions)
    assert (told(bundle, seed=3).contributions != told(bundle, seed=4).contributions).any()


def test_no_round_begins_after_the_budget(bundle: Bundle) -> None:
    moments = iter([0.0, 0.4, 1.1, 5.0])
    answer = told(bundle, rounds=10, budget_seconds=1.0, clock=lambda: next(moments))
    assert answer.rows == 2 * 64 * 4
