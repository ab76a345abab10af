"""A recommendations bundle small enough to be answered by hand.

The user vector is the mean of the vectors of the history, so a score is plain arithmetic; `scores_by_hand` does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import orjson
from onnx import TensorProto, helper, numpy_helper

from personalization.bundles.bundle import MODEL_ONNX, Bundle, load_bundle
from tests.bundles import CREATED_AT
from training.bundle_writer import start_bundle, write_bundle
from training.export import IR_VERSION, OPSET

# id: (vector, popularity, recent, category, brand, price, parent, title, created, in stock)
ITEMS: Final[dict[str, tuple[Any, ...]]] = {
    "teapot": ([1.0, 0.0], 2.0, 1.0, "kitchen", "Acme", 24.9, None, "Teapot", "2026-01-10", 1),
    "mug": ([0.9, 0.1], 3.0, 2.0, "kitchen", "Acme", 7.5, "mugs", "Mug", "2026-02-10", 1),
    "mug-red": ([0.88, 0.12], 1.0, 0.5, "kitchen", "Acme", 7.9, "mugs", "Red mug", "2026-03-10", 0),
    "kettle": ([0.8, 0.3], 2.5, 2.5, "kitchen", "Bolt", 39.0, None, "Kettle", "2026-04-10", 1),
    "spade": ([0.0, 1.0], 2.2, 3.0, "garden", "Bolt", 19.0, None, "Spade", "2026-05-10", 1),
    "rake": ([0.1, 0.9], 1.5, 1.5, "garden", None, 17.0, None, "Rake", None, -1),
    "lamp": ([0.5, 0.5], 0.5, 0.7, "light", "Lux", None, None, "Lamp", "2026-06-10", 1),
    "secret": ([0.3, 0.4], 0.1, 0.1, None, None, None, None, None, None, -1),
}
TOGETHER: Final = {"teapot": {"mug": 0.8, "kettle": 0.5}, "spade": {"rake": 0.9}, "mug": {"teapot": 0.7}}
NEXT: Final = {"teapot": {"lamp": 0.4}}
ALIKE: Final = {"teapot": {"kettle": 0.6}, "kettle": {"teapot": 0.6}, "spade": {"rake": 0.5}, "rake": {"spade": 0.5}}
MIX: Final[dict[str, Any]] = {
    "sequence": 2.0,
    "static": {"popularity": 0.3, "recent": 0.1},
    "cold": {"popularity": 1.0},
    "matrices": {"together": [1.0, 0.5], "next": [0.5, 0.0], "alike": [0.25, 0.25]},
    "repeat": {},
    "slope": 1.0,
    "intercept": 0.0,
}
REPEAT: Final = {"count": 1.5, "due": 0.5}
# Content: two categories and two brands; what one is worth in a vector.
CONTENT: Final = [
    {"name": "category", "kind": "word", "words": ["kitchen", "garden"], "edges": [], "first": 0},
    {"name": "brand", "kind": "word", "words": ["Acme", "Bolt"], "edges": [], "first": 2},
]
CONTENT_TABLE: Final = [[0.4, 0.0], [0.0, 0.4], [0.05, 0.0], [0.0, 0.05]]


def recommendations_bundle(
    directory: Path,
    items: Mapping[str, tuple[Any, ...]] = ITEMS,
    *,
    mix: Mapping[str, Any] | None = None,
    matrices: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
    repeat_buying: bool = False,
    content: bool = True,
    max_events: int = 50,
) -> str:
    """Write the bundle; its version."""
    start_bundle(directory)
    ids = list(items)
    vectors = np.array([row[0] for row in items.values()], np.float32)
    _write_graph(directory, vectors.shape[1])
    of = {"together": TOGETHER, "next": NEXT, "alike": ALIKE} if matrices is None else matrices
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "item_vectors.npy": vectors,
        "static.npy": np.array([[row[1] for row in items.values()], [row[2] for row in items.values()]], np.float32),
        "repurchase.npy": np.linspace(-2.0, 0.0, len(ids)).astype(np.float32),
    }
    for name, rows in of.items():
        arrays |= _parts(name, [[(ids.index(o), v) for o, v in rows.get(item, {}).items()] for item in ids])
    mixed = dict(MIX | ({"repeat": REPEAT} if repeat_buying else {}) | dict(mix or {}))
    mixed["matrices"] = {name: weights for name, weights in mixed["matrices"].items() if name in of}
    documents: dict[str, Any] = {"items.json": {"items": ids}, "mix.json": mixed}
    if content:
        words = [column["words"] for column in CONTENT]
        features = [
            [
                (first + known.index(word), 2.0)
                for first, known, word in zip((0, 2), words, row[3:5], strict=True)
                if word in known
            ]
            for row in items.values()
        ]
        arrays |= _parts("content", features)
        arrays["content_table.npy"] = np.array(CONTENT_TABLE, np.float32)[:, : vectors.shape[1]]
        arrays["content_rarity.npy"] = np.ones(4, np.float32)
        documents["content.json"] = {"columns": CONTENT}
    described, columns = _metadata(items)
    documents["metadata.json"] = described
    for name, array in (arrays | columns).items():
        np.save(directory / name, array)
    for name, document in documents.items():
        (directory / name).write_bytes(orjson.dumps(document))
    (directory / "report.html").write_text("<p>by hand</p>")
    return write_bundle(
        directory,
        name="recommendations",
        kind="interactions",
        model="by-hand",
        metrics={"test": {}},
        started=0.0,
        files=("report.html", *arrays, *columns, *documents),
        content={
            "history_window": {"max_events": max_events, "max_days": 365},
            "repeat_buying": repeat_buying,
            "recommendations": {
                "longest": max_events,
                "size": vectors.shape[1],
                "pace": {"basket_days": 7.0, "basket_items": 1.0},
            },
            "timezone": "UTC",
        },
        created_at=CREATED_AT,
    )


def hand_bundle(directory: Path, **options: Any) -> Bundle:
    recommendations_bundle(directory, **options)
    return load_bundle(directory)


def scores_by_hand(history: Sequence[str]) -> dict[str, float]:
    """What `recommendations_bundle` answers for a history, one item a basket, in plain arithmetic."""
    mean = [sum(ITEMS[item][0][d] for item in history) / len(history) for d in (0, 1)]
    scores = {}
    for item, (vector, popularity, recent, *_) in ITEMS.items():
        score = 2.0 * sum(m * v for m, v in zip(mean, vector, strict=True)) + 0.3 * popularity + 0.1 * recent
        for rank, had in enumerate(reversed(history)):
            for rows, weights in ((TOGETHER, (1.0, 0.5)), (NEXT, (0.5, 0.0)), (ALIKE, (0.25, 0.25))):
                if rank < len(weights):
                    score += weights[rank] * rows.get(had, {}).get(item, 0.0)
        scores[item] = score
    return scores


def relevance_by_hand(scores: Mapping[str, float], item: str) -> float:
    """Slope 1 and intercept 0: the logistic function of the score's log share."""
    share = math.exp(scores[item]) / sum(math.exp(score) for score in scores.values())
    return 1 / (1 + math.exp(-math.log(share)))


def _parts(name: str, rows: Sequence[Sequence[tuple[int, float]]]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        f"{name}_indptr.npy": np.cumsum([0, *map(len, rows)]).astype(np.int64),
        f"{name}_indices.npy": np.array([code for row in rows for code, _ in row], np.int32),
        f"{name}_values.npy": np.array([value for row in rows for _, value in row], np.float32),
    }


def _metadata(items: Mapping[str, tuple[Any, ...]]) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    rows = list(items.values())
    words: dict[str, list[str]] = {}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for place, name in ((3, "category"), (4, "brand"), (6, "parent_id")):
        words[name] = sorted({row[place] for row in rows if row[place]})
        codes = [words[name].index(row[place]) if row[place] else -1 for row in rows]
        arrays[f"meta_{name}.npy"] = np.array(codes, np.int32)
    arrays["meta_price.npy"] = np.array([math.nan if row[5] is None else row[5] for row in rows], np.float32)
    missing = np.iinfo(np.int64).min
    created = [missing if row[8] is None else np.datetime64(row[8], "ms").astype(np.int64) for row in rows]
    arrays["meta_created_at.npy"] = np.array(created, np.int64)
    arrays["meta_in_stock.npy"] = np.array([row[9] for row in rows], np.int8)
    return {"words": words, "titles": [row[7] for row in rows], "columns": []}, arrays


def _write_graph(directory: Path, size: int) -> None:
    nodes = [
        helper.make_node("Cast", ["known"], ["present"], to=TensorProto.BOOL),
        helper.make_node("Unsqueeze", ["present", "last"], ["mask"]),
        helper.make_node("Where", ["mask", "vectors", "zero"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "second"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["known"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["ones", "second"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["user_vector"]),
    ]
    constants = {
        "last": np.array([2], np.int64),
        "second": np.array([1], np.int64),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "by-hand",
        [
            helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["rows", "length", size]),
            helper.make_tensor_value_info("known", TensorProto.INT64, ["rows", "length"]),
        ],
        [helper.make_tensor_value_info("user_vector", TensorProto.FLOAT, ["rows", size])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    (directory / MODEL_ONNX).write_bytes(model.SerializeToString())
