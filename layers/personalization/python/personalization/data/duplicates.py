"""Events that occur twice: duplicates by `event_id`, and suspected ones, which are exact copies without an id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import EVENT_COLUMNS, Events

_MERGE_AT: Final = 8  # number of sorted runs above which they are merged into one


class SeenIds:
    """Event ids seen so far, as 64-bit hashes: 8 bytes each, and among ten million two are taken for one with P = 3e-6."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def repeated(self, event_ids: Sequence[str | None]) -> NDArray[np.bool_]:
        """(N,) whether each of N ids occurred before, in this call or an earlier one. `None` never did."""
        known = np.fromiter((event_id is not None for event_id in event_ids), dtype=bool, count=len(event_ids))
        rows = np.flatnonzero(known)
        hashes = np.fromiter((_hash(event_ids[row]) for row in rows.tolist()), dtype=np.uint64, count=len(rows))
        different, first = np.unique(hashes, return_index=True)
        seen = np.ones(len(hashes), dtype=bool)
        seen[first] = False
        for run in self._runs:
            seen |= _is_among(hashes, run)
        if len(different):
            self._runs.append(different)
        if len(self._runs) > _MERGE_AT:
            self._runs = [np.unique(np.concatenate(self._runs))]
        repeated = np.zeros(len(event_ids), dtype=bool)
        repeated[rows] = seen
        return repeated


def count_suspected_duplicates(events: Events, identified: NDArray[np.bool_]) -> int:
    """Number of events that are exact copies of an earlier one, where both have no `event_id`. They are counted, not dropped.

    identified   (N,) whether an event has an `event_id`
    """
    rows = np.flatnonzero(~identified)
    if len(rows) < 2:
        return 0
    columns = [getattr(events, name)[rows] for name in EVENT_COLUMNS]
    columns = [c.view(np.int64) if c.dtype == np.float64 else c for c in columns]  # so that NaN is equal to NaN
    order = np.lexsort(columns)
    same = np.ones(len(rows) - 1, dtype=bool)
    for column in columns:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    return int(same.sum())


def _hash(event_id: str | None) -> int:
    return int.from_bytes(hashlib.blake2b(str(event_id).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _is_among(values: NDArray[np.uint64], run: NDArray[np.uint64]) -> NDArray[np.bool_]:
    position = np.minimum(np.searchsorted(run, values), len(run) - 1)
    return np.asarray(run[position] == values, dtype=bool)
