"""The edges between the five classes of recency, frequency and monetary value, for `personalization.profiles.rfm`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.tasks.profiles.examples import Sample

# Our name → the feature that it is measured by, in `personalization.profiles.predict`.
_FEATURES: Final = {"recency": "recency_purchase_days", "frequency": "orders", "monetary": "monetary"}


def quintile_edges(sample: Sample) -> dict[str, list[float]] | None:
    """Four ascending edges each, over the buyers of the sample; None without buyers."""
    orders = sample.columns["orders"]
    buyers = orders > 0
    if not buyers.any():
        return None
    return {name: _edges(sample.columns[feature][buyers]) for name, feature in _FEATURES.items()}


def _edges(values: NDArray[Any]) -> list[float]:
    known = values[~np.isnan(values)].astype(np.float64)
    return [round(float(edge), 6) for edge in np.quantile(known, [0.2, 0.4, 0.6, 0.8])]
