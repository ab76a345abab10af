"""Latency of the profiles handler: against raw `session.run`, and with Keras in place of ONNX Runtime.

One user with ready features, 50 and 1,000 events; no store is read. The Keras network has the sizes of the bundle's, because
the weights do not change the cost of a call.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import report, shop
from personalization.bundles.bundle import Bundle
from personalization.core.time import DAY_SECONDS
from personalization.features import FEATURES
from training.runtime import prepare

NOW = 1_795_500_000.0


class OnKeras(Bundle):
    """The same bundle, predicted with `keras.Model.predict` as in a first version of such a service."""

    model: Any

    def run(self, inputs: Any) -> dict[str, NDArray[Any]]:
        outputs: dict[str, NDArray[Any]] = self.model.predict(dict(inputs), verbose=0)
        return outputs


def on_keras(bundle: Bundle) -> Bundle:
    """A Keras network with the bundle's columns and outputs."""
    prepare(0)
    from training.networks.tabular import build_tabular, encoder_statistics
    from training.tasks.profiles.heads import CategoryHead, HazardHead, SpendHead

    days = bundle.manifest["hazard_days"]
    rng = np.random.default_rng(0)
    encoder = bundle.encoder
    inputs: dict[str, NDArray[Any]] = {"numeric": rng.normal(size=(512, len(encoder.numeric_names))).astype(np.float32)}
    if encoder.categorical_columns:
        inputs["categorical"] = np.stack([rng.integers(0, c.cardinality, 512) for c in encoder.categorical_columns], axis=1)
    hazard = HazardHead(days)
    heads = (hazard, SpendHead(hazard, 1, 50.0), CategoryHead(len(bundle.manifest["next_category_names"])))
    network = build_tabular(encoder, encoder_statistics(encoder, inputs), heads)
    copy = OnKeras(**{field.name: getattr(bundle, field.name) for field in fields(bundle)})
    object.__setattr__(copy, "model", network.serving)
    return copy


def requests() -> dict[str, dict[str, Any]]:
    """API Gateway events by a description of their content."""
    ready = dict.fromkeys(FEATURES, 1.0) | {"preferred_category": "GROCERY"}

    def events(count: int) -> list[dict[str, Any]]:
        return [
            {
                "item_id": f"i{n % 97}",
                "event_type": "purchase" if n % 5 == 0 else "view_item",
                "timestamp": int(NOW) - n * DAY_SECONDS // 4,
                "event_value": 3.5 if n % 5 == 0 else None,
            }
            for n in range(count)
        ]

    bodies: dict[str, dict[str, Any]] = {
        "ready features": {"features": ready},
        "50 events": {"events": events(50)},
        "1,000 events": {"events": events(1000)},
    }
    example = json.loads((Path(__file__).parents[1] / "events" / "rest_post_profiles.json").read_text())
    return {name: example | {"body": json.dumps({"user_id": "u"} | body)} for name, body in bodies.items()}


def main() -> None:
    bundle = shop.demo_bundle("profiles")
    one = bundle.encoder.encode({}, 1).inputs
    handler = shop.handler("profiles", bundle)
    slow = shop.handler("profiles", on_keras(bundle))
    raw = report.repeat(lambda: bundle.session.run(bundle.output_names, one))
    rows: list[dict[str, Any]] = [_row("session.run alone", raw, raw)]
    for name, event in requests().items():
        rows.append(_row(f"handler, {name}", report.repeat(lambda event=event: handler(event, None)), raw))
    event = requests()["ready features"]
    assert handler(event, None)["statusCode"] == 200
    keras_times = report.repeat(lambda: slow(event, None), seconds=4.0, warmup=3, at_least=20)
    rows.append(_row("handler on keras.predict, ready features", keras_times, raw))
    ours = rows[1]["p50_ms"]
    report.publish(
        "profiles_handler",
        "Profiles handler, one user, no store read (milliseconds)",
        rows,
        [
            f"overhead over session.run at p50, ready features: {ours - rows[0]['p50_ms']:.2f} ms",
            f"keras.predict in the same handler costs {rows[-1]['p50_ms'] / ours:.0f} times as much",
        ],
    )


def _row(name: str, times: list[float], raw: list[float]) -> dict[str, Any]:
    p50 = report.percentile(times, 0.5)
    return {
        "what": name,
        "p50_ms": p50,
        "p99_ms": report.percentile(times, 0.99),
        "over session.run": p50 - report.percentile(raw, 0.5),
        "calls": len(times),
    }


if __name__ == "__main__":
    main()
