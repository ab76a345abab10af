"""What the recommendations handler costs beside its network: 12,000 items, a history of 50, no store read.

The network is the one that `train recommendations` builds, with its own sizes; weights do not change what a call costs.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import boto3
import numpy as np
import orjson
from threadpoolctl import threadpool_limits

from benchmarks import report, shop
from personalization.api import Handler, Services
from personalization.bundles import ModelStore
from personalization.bundles.bundle import MODEL_ONNX, Bundle, load_bundle
from personalization.catalog import CatalogReader
from personalization.core.observability import Monitor
from personalization.core.settings import Settings
from personalization.recommendations.blend import COOCCURRENCE, TRANSITION, BlendWeights
from personalization.recommendations.components import encoder_inputs
from personalization.recommendations.explain import explain_items
from personalization.recommendations.history import BasketPace, from_items
from personalization.recommendations.scenarios import personal
from personalization.recommendations.scoring import user_embeddings
from personalization.recommendations.serving_catalog import serving_catalog
from personalization.state import StateStore
from training.bundle_writer import start_bundle, write_bundle
from training.runtime import prepare

ITEMS: Final = 12_000
HISTORY: Final = 50
_NEIGHBOURS: Final = 100
_CATEGORIES: Final = 40


class NoCatalog:
    """The item catalog of a function without one."""

    failure = ""

    def get(self) -> None:
        return None


class Warm(Services):
    """Services that need not read S3 again."""

    @cached_property
    def catalog(self) -> CatalogReader:
        return cast(CatalogReader, NoCatalog())


def made_up_bundle(directory: Path, items: int = ITEMS) -> Bundle:
    """Everything that a trained bundle has, with random content."""
    prepare(0)
    from training.export import export
    from training.networks.sequence import SequenceConfig, build_sequence

    random = np.random.default_rng(0)
    config = SequenceConfig(longest=HISTORY)
    start_bundle(directory)
    vectors = (random.normal(size=(items, config.size)) / 8).astype(np.float32)
    history = from_items([random.integers(0, items, HISTORY).tolist()] * 4, BasketPace(), HISTORY)
    batch = {name: encoder_inputs(history, vectors, HISTORY)[name] for name in config.inputs}
    export(build_sequence(config).serving, directory / MODEL_ONNX, batch, relative=True)
    counts = random.zipf(1.5, items).clip(max=1000)
    arrays: dict[str, Any] = {
        "item_vectors.npy": vectors,
        "static.npy": np.log1p(np.stack([counts, counts / 3])).astype(np.float32),
        "repurchase.npy": np.full(items, -2, np.float32),
        "meta_category.npy": random.integers(0, _CATEGORIES, items).astype(np.int32),
        "meta_price.npy": random.uniform(1, 100, items).astype(np.float32),
    }
    for name in ("together", "next"):
        arrays[f"{name}_indptr.npy"] = np.arange(items + 1, dtype=np.int64) * _NEIGHBOURS
        arrays[f"{name}_indices.npy"] = random.integers(0, items, items * _NEIGHBOURS).astype(np.int32)
        arrays[f"{name}_values.npy"] = random.random(items * _NEIGHBOURS).astype(np.float32)
    weights = tuple(float(0.9**rank) for rank in range(48))
    mix = BlendWeights(
        1.0, {"popularity": 0.2, "recent": 0.1}, {"popularity": 1.0}, {COOCCURRENCE: weights, TRANSITION: weights}
    )
    documents = {
        "items.json": {"items": [f"item-{n}" for n in range(items)]},
        "mix.json": mix.to_json(),
        "metadata.json": {
            "words": {"category": [f"category {n}" for n in range(_CATEGORIES)]},
            "titles": [f"Item {n}" for n in range(items)],
        },
    }
    for file, array in arrays.items():
        np.save(directory / file, array)
    for file, document in documents.items():
        (directory / file).write_bytes(orjson.dumps(document))
    (directory / "report.html").write_text("")
    write_bundle(
        directory, name="recommendations", kind="interactions", model="made-up", metrics={"test": {}}, started=0.0,
        files=("report.html", *arrays, *documents),
        content={
            "history_window": {"max_events": 500, "max_days": 365},
            "repeat_buying": False,
            "recommendations": {"longest": HISTORY, "size": config.size, "pace": {"basket_days": 7.0, "basket_items": 1.0}},
        },
    )  # fmt: skip
    return load_bundle(directory)


def handler(bundle: Bundle) -> Handler:
    """The function's own, warm."""
    monitor = Monitor("recommendations")
    for one in monitor.logger.handlers:
        cast("logging.StreamHandler[Any]", one).stream = open("/dev/null", "w")  # noqa: PTH123, SIM115
    settings = Settings.from_environment()
    store = cast(ModelStore, shop.Settled(bundle))
    state = StateStore(boto3.client("dynamodb"), settings.state_table)
    stores = {"recommendations": store, "recommendations-table": store}
    services = Warm(settings, monitor, boto3.client("s3"), state, stores)
    built: Handler = importlib.import_module("functions.recommendations.api").build(services)
    return built


def main(items: int = ITEMS) -> None:
    with TemporaryDirectory() as name, threadpool_limits(1):  # a function of this size has one processor
        bundle = made_up_bundle(Path(name), items)
        _measure(bundle, items)


def _measure(bundle: Bundle, items: int) -> None:
    answer = handler(bundle)
    catalog = serving_catalog(bundle)
    had = [int(n) for n in np.random.default_rng(1).integers(0, items, HISTORY)]
    history = from_items([had], catalog.recommender.pace, HISTORY)
    inputs = encoder_inputs(history, catalog.recommender.vectors, HISTORY)
    feed = {name: inputs[name] for name in catalog.recommender.inputs}
    raw = report.repeat(lambda: bundle.session.run(bundle.output_names, feed))
    bare = report.percentile(raw, 0.5)
    rows = [
        _row("session.run alone", raw, bare),
        _row("user vector", report.repeat(lambda: user_embeddings(catalog, history)), bare),
    ]
    ids = [f"item-{n}" for n in had]
    example = json.loads((Path(__file__).parents[1] / "events" / "rest_post_recommendations.json").read_text())
    bodies: dict[str, dict[str, Any]] = {
        "k 20": {},
        "k 20, filter of 2.5 %": {"filters": {"category": ["category 1"]}},
        "k 20, diversity .5": {"diversity": 0.5},
        "k 20, a fifth promoted": {"promote": {"filters": {"category": ["category 1"]}, "share": 0.2}},
        "k 200": {"k": 200},
        "k 20, explained, 250 ms allowed": {"explain": True},
        "k 20, explained, 50 ms allowed": {"explain": True, "explain_budget_ms": 50},
    }
    for what, body in bodies.items():
        event = example | {"body": json.dumps({"history": ids} | body)}
        assert answer(event, None)["statusCode"] == 200
        slow = "explained" in what
        times = report.repeat(lambda event=event: answer(event, None), warmup=3 if slow else 20, at_least=10 if slow else 200)
        rows.append(_row(f"handler, {what}", times, bare))
    scores = personal(catalog, history)
    orders = explain_items(catalog, scores, np.arange(20), budget_seconds=0.25).orders
    report.publish(
        "recommendations_handler",
        f"Recommendations handler, {items:,} items, a history of {HISTORY}, no store read (milliseconds)",
        rows,
        [f"an explanation in 250 ms drew {orders} orders of {len(set(had))} items"],
    )


def _row(what: str, times: list[float], bare: float) -> dict[str, Any]:
    p50 = report.percentile(times, 0.5)
    return {
        "what": what,
        "p50_ms": p50,
        "p99_ms": report.percentile(times, 0.99),
        "least_ms": times[0],
        "over session.run": p50 - bare,
        "calls": len(times),
    }


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
