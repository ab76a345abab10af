"""Do the segments mean something? Who is in them on the judged rows, and what these users then did."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.profiles.behaviour import SEGMENTS
from personalization.profiles.predict import describe_features
from personalization.profiles.rfm import NAMES, spread
from training.tasks.profiles.examples import Sample
from training.tasks.profiles.labels import bought_within

_ORDERS = {"segment": NAMES, "behaviour": tuple(segment.name for segment in SEGMENTS)}
_TITLES = {"segment": "rfm", "behaviour": "behaviour"}


def segment_outcomes(bundle: Bundle, sample: Sample) -> dict[str, Any]:
    """By RFM and by predicted behaviour; empty where the bundle sorts nobody.

    bundle   needs not be sealed
    sample   judged rows with their labels

    ``{"rfm": {"coverage", "diversity", "separation", "segments": [{"name", "users", "share", "rate", "mean_probability",
    "churn_rate", "mean_churn_risk", "spend"}]}, "behaviour": …}``. Rates and spend are what was observed afterwards, None where
    nobody was seen for so long. Separation is the share of the variance of buying within the horizon that lies between the
    segments: 0 where they say nothing of it.
    """
    manifest = bundle.manifest
    days = tuple(int(day) for day in manifest["hazard_days"])
    profiles = describe_features(bundle, sample.columns, len(sample), 0)
    bought = bought_within(sample.labels, days, int(manifest["horizon"]))
    stayed = bought_within(sample.labels, days, int(manifest["churn_horizon"]))
    probability = np.array([profile["probability"] for profile in profiles])
    risk = np.array([profile["churn_risk"] for profile in profiles])
    seen = sample.labels.seen_days >= int(manifest["horizon"]) - 1 / 24
    found: dict[str, Any] = {}
    for key, names in _ORDERS.items():
        if any(profile[key] is None for profile in profiles):
            continue
        code = np.array([names.index(profile[key]["name"]) for profile in profiles], np.int64)
        sizes = dict(zip(names, np.bincount(code, minlength=len(names)).tolist(), strict=True))
        segments = []
        for place, name in enumerate(names):
            rows = code == place
            if rows.any():
                staying = _mean(stayed[0], rows & stayed[1])
                segments.append(
                    {
                        "name": name,
                        "users": sizes[name],
                        "share": sizes[name] / len(code),
                        "rate": _mean(bought[0], rows & bought[1]),
                        "mean_probability": float(probability[rows].mean()),
                        "churn_rate": None if staying is None else 1 - staying,
                        "mean_churn_risk": float(risk[rows].mean()),
                        "spend": _mean(sample.labels.spend, rows & seen),
                    }
                )
        separation = _between(bought[0][bought[1]].astype(np.float64), code[bought[1]])
        found[_TITLES[key]] = {**spread(sizes), "separation": separation, "segments": segments}
    return found


def _mean(values: NDArray[Any], rows: NDArray[np.bool_]) -> float | None:
    return float(values[rows].mean()) if rows.any() else None


def _between(values: NDArray[np.float64], code: NDArray[np.int64]) -> float | None:
    """Share of the variance of the values between the groups."""
    if not len(values) or values.var() == 0:
        return None
    count = np.bincount(code)
    mean = np.bincount(code, weights=values) / np.maximum(count, 1)
    return float((count * np.square(mean - values.mean())).sum() / (len(values) * values.var()))
