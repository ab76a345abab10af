"""Which ad: click probabilities of candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personalization import tables
from personalization.bundle import Bundle
from personalization.tables import Scored


def score(bundle: Bundle, candidates: Sequence[Mapping[str, Any]]) -> Scored:
    """P(click) of each candidate, given as a mapping of the columns of the impressions and ads tables."""
    names = [column.name for column in bundle.encoder.columns]
    columns = {name: [candidate.get(name) for candidate in candidates] for name in names}
    return tables.score(bundle, columns, len(candidates))
