"""Samples of the profile training, from columns and labels that are written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.tasks.profiles.labels import Labels
from training.tasks.profiles.samples import Sample


def sample_of(
    columns: Mapping[str, Sequence[Any]],
    *,
    event: Sequence[Sequence[float]] | None = None,
    observed_days: float = 100.0,
    spend: Sequence[float] | None = None,
    baskets: Sequence[Sequence[bool]] | None = None,
    days: Sequence[int] = (7, 14, 30, 90),
) -> Sample:
    """Rows with these columns; without `event` nobody bought. Every row saw `observed_days`, full intervals only."""
    rows = len(next(iter(columns.values())))
    happened = np.zeros((rows, len(days)), np.float32) if event is None else np.asarray(event, np.float32)
    before = np.cumsum(happened, axis=1) - happened
    exposure = (np.asarray(days) <= observed_days) & (before == 0)
    labels = Labels(
        exposure.astype(np.float32),
        happened,
        np.zeros(rows, np.float32) if spend is None else np.asarray(spend, np.float32),
        np.full(rows, observed_days, np.float32),
        np.cumsum(happened, axis=1),
        np.full(rows, -1),
    )
    content = {
        name: np.asarray(values, object if isinstance(values[0], str) else np.float32) for name, values in columns.items()
    }
    chosen = np.zeros((rows, 0), bool) if baskets is None else np.asarray(baskets, bool)
    return Sample(np.arange(rows), np.zeros(rows, np.int64), content, labels, chosen)
