"""Segments of a profile bundle: their thresholds, fitted on current users, and how the segments did on the test rows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.profiles.behaviour import SEGMENTS
from personalization.profiles.predict import predict_from_features
from personalization.profiles.rfm import NAMES, segment_spread
from training.io.point_in_time import horizon_observed
from training.tasks.profiles.labels import bought_within
from training.tasks.profiles.samples import Sample

# Name in the manifest → the feature that it is measured by.
_RFM_FEATURES: Final = {"recency": "recency_purchase_days", "frequency": "orders", "monetary": "monetary"}
_NEW_DAYS: Final = (7.0, 30.0)  # a new customer stays new for a week at least, and for a month at most
# Name in metrics.json → key of a profile, and the segments in order.
_KINDS: Final = {
    "rfm": ("segment", NAMES),
    "behaviour": ("behaviour", tuple(segment.name for segment in SEGMENTS)),
}


def quintile_edges(sample: Sample) -> dict[str, list[float]] | None:
    """Key `rfm` of bundle.json: four ascending edges of each score over the buyers of the sample; None without buyers."""
    buyers = sample.columns["orders"] > 0
    if not buyers.any():
        return None
    edges = {name: np.nanquantile(_floats(sample, f)[buyers], [0.2, 0.4, 0.6, 0.8]) for name, f in _RFM_FEATURES.items()}
    return {name: [round(float(edge), 6) for edge in values] for name, values in edges.items()}


def behaviour_thresholds(bundle: Bundle, sample: Sample) -> dict[str, float] | None:
    """Key `behaviour` of bundle.json; None without buyers, or where the model predicts the same for every user.

    bundle   predicts; it need not be sealed
    sample   current rows of every user; their labels are not used
    """
    buyers = np.asarray(sample.columns["orders"]) > 0
    if not buyers.any():
        return None
    days = list(bundle.manifest["hazard_days"])
    within = bundle.run(bundle.encoder.encode(sample.columns, len(buyers)).inputs)["probability_within"].astype(np.float64)
    probability = within[:, days.index(bundle.manifest["horizon"])]
    churn = 1 - within[buyers, days.index(bundle.manifest["churn_horizon"])]
    if np.ptp(probability) == 0:
        return None

    def quantile(values: NDArray[np.float64], share: float) -> float:
        return round(float(np.nanquantile(values, share)), 6)

    return {
        "ready": quantile(probability, 0.8),
        "cooling": quantile(churn, 0.5),
        "lapse": quantile(churn, 0.75),
        "value": quantile(_floats(sample, "monetary")[buyers], 0.8),
        "new_days": float(np.clip(quantile(_floats(sample, "tenure_days")[buyers], 0.1), *_NEW_DAYS)),
    }


def segment_outcomes(bundle: Bundle, sample: Sample) -> dict[str, Any]:
    """Labels of test rows by segment, for RFM and predicted behaviour; empty where the bundle assigns no segments.

    bundle   need not be sealed
    sample   test rows with their labels

    ``{"rfm": {"coverage", "diversity", "separation", "segments": [{"name", "users", "share", "rate", "mean_probability",
    "churn_rate", "mean_churn_risk", "spend"}]}, "behaviour": …}``. Rates and spend are observed ones, None where no row covers
    the horizon. Separation is the share of the variance of buying within the horizon that lies between the segments.
    """
    manifest = bundle.manifest
    days = tuple(int(day) for day in manifest["hazard_days"])
    horizon = int(manifest["horizon"])
    profiles = predict_from_features(bundle, sample.columns, len(sample), 0)
    bought, observed = bought_within(sample.labels, days, horizon)
    stayed, stay_observed = bought_within(sample.labels, days, int(manifest["churn_horizon"]))
    probability = np.array([profile["probability"] for profile in profiles])
    risk = np.array([profile["churn_risk"] for profile in profiles])
    spend_observed = horizon_observed(sample.labels.observed_days, horizon)
    outcomes: dict[str, Any] = {}
    for kind, (key, names) in _KINDS.items():
        if any(profile[key] is None for profile in profiles):
            continue
        code = np.array([names.index(profile[key]["name"]) for profile in profiles], np.int64)
        sizes = dict(zip(names, np.bincount(code, minlength=len(names)).tolist(), strict=True))
        segments = []
        for index, name in enumerate(names):
            rows = code == index
            if rows.any():
                stay_rate = _mean(stayed, rows & stay_observed)
                segments.append(
                    {
                        "name": name,
                        "users": sizes[name],
                        "share": sizes[name] / len(code),
                        "rate": _mean(bought, rows & observed),
                        "mean_probability": float(probability[rows].mean()),
                        "churn_rate": None if stay_rate is None else 1 - stay_rate,
                        "mean_churn_risk": float(risk[rows].mean()),
                        "spend": _mean(sample.labels.spend, rows & spend_observed),
                    }
                )
        separation = _variance_between(bought[observed].astype(np.float64), code[observed])
        outcomes[kind] = {**segment_spread(sizes), "separation": separation, "segments": segments}
    return outcomes


def _floats(sample: Sample, feature: str) -> NDArray[np.float64]:
    return np.asarray(sample.columns[feature], np.float64)


def _mean(values: NDArray[Any], rows: NDArray[np.bool_]) -> float | None:
    return float(values[rows].mean()) if rows.any() else None


def _variance_between(values: NDArray[np.float64], code: NDArray[np.int64]) -> float | None:
    """Share of the variance of the values that lies between the groups (η²)."""
    if not len(values) or values.var() == 0:
        return None
    count = np.bincount(code)
    mean = np.bincount(code, weights=values) / np.maximum(count, 1)
    return float((count * np.square(mean - values.mean())).sum() / (len(values) * values.var()))
