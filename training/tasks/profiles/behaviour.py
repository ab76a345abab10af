"""The thresholds of `personalization.profiles.behaviour`: quantiles over current users and their predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.profiles.predict import predictions
from training.tasks.profiles.examples import Sample

_NEW_DAYS = (7.0, 30.0)  # somebody new is new for a week at least, for a month at most


def behaviour_thresholds(bundle: Bundle, sample: Sample) -> dict[str, float] | None:
    """Key `behaviour` of bundle.json; `None` where nobody bought, or where the model says the same of everybody.

    bundle   asked for the predictions; need not be sealed
    sample   rows of every user as things are now; no label is looked at
    """
    columns = sample.columns
    buyers = np.asarray(columns["orders"]) > 0
    if not buyers.any():
        return None
    days = list(bundle.manifest["hazard_days"])
    within = predictions(bundle, columns, len(buyers))["probability_within"].astype(np.float64)
    probability = within[:, days.index(bundle.manifest["horizon"])]
    churn = 1 - within[buyers, days.index(bundle.manifest["churn_horizon"])]
    if np.ptp(probability) == 0:
        return None
    new = _quantile(np.asarray(columns["tenure_days"], np.float64)[buyers], 0.1)
    return {
        "ready": _quantile(probability, 0.8),
        "cooling": _quantile(churn, 0.5),
        "lapse": _quantile(churn, 0.75),
        "value": _quantile(np.asarray(columns["monetary"], np.float64)[buyers], 0.8),
        "new_days": float(np.clip(new, *_NEW_DAYS)),
    }


def _quantile(values: NDArray[np.float64], share: float) -> float:
    return round(float(np.quantile(values[~np.isnan(values)], share)), 6)
