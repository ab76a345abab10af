"""Columns of words as codes: each different word is looked at once, however often it stands there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.events import WORD_LISTS, Codes, Events, Interner

Cells = Sequence[Any] | NDArray[Any]

MISSING: Final = -1


@dataclass(frozen=True, slots=True)
class Words:
    """N cells of text.

    codes   int32 (N,) into `words`, −1 where missing
    words   stripped, in order of first appearance
    """

    codes: Codes
    words: list[str]

    def cells(self) -> list[str | None]:
        """One word for each row, `None` where missing."""
        lookup = [*self.words, None]  # code −1 picks the last
        return [lookup[code] for code in self.codes.tolist()]


def words(content: Cells | None, rows: int) -> Words:
    """Cells as `cells.word` reads them. An absent column is missing everywhere."""
    if content is None:
        return Words(np.full(rows, MISSING, dtype=np.int32), [])
    interner = Interner()
    codes = cells.by_cell(content, lambda cell: interner.code(cells.word(cell)), np.int32)
    return Words(codes, interner.words)


def compacted(events: Events) -> Events:
    """The same events with only the words that they use, in the same order; nobody without an event stays a user."""
    changed: dict[str, Any] = {}
    for column, words_name in WORD_LISTS.items():
        codes, every = getattr(events, column), getattr(events, words_name)
        used = np.zeros(len(every) + 1, dtype=bool)
        used[codes] = True  # code −1 marks the last, which is no word
        kept = np.flatnonzero(used[:-1])
        if len(kept) < len(every):
            recode = np.full(len(every) + 1, MISSING, dtype=np.int32)
            recode[kept] = np.arange(len(kept), dtype=np.int32)
            changed |= {column: recode[codes], words_name: [every[code] for code in kept]}
    return replace(events, **changed) if changed else events
