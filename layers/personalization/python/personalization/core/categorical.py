"""Columns of items as codes into their different words: small, quick to join, and one form for every column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.events import Interner

MISSING: Final = -1  # known to have none
UNSTATED: Final = -2  # not told: what was told earlier stays


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """N cells of text.

    codes   int32 (N,) into `words`, `MISSING` or `UNSTATED`
    words   each once
    """

    codes: NDArray[np.int32]
    words: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)

    def word(self, row: int) -> str | None:
        """The cell of one row."""
        code = int(self.codes[row])
        return self.words[code] if code >= 0 else None

    def code(self, word: str) -> int:
        """Code of a word; one that no row can have where it is not among the words."""
        try:
            return self.words.index(word)
        except ValueError:
            return UNSTATED - 1

    def take(self, rows: NDArray[np.int64]) -> CategoricalColumn:
        """These rows, with the same words."""
        return CategoricalColumn(self.codes[rows], self.words)

    def cells(self) -> list[str | None]:
        """All cells, `None` where missing or not stated."""
        lookup = [*self.words, None, None]  # codes −1 and −2 pick the last ones
        return [lookup[code] for code in self.codes.tolist()]


def categorical_column(content: Sequence[Any] | NDArray[Any]) -> CategoricalColumn:
    """Cells as `cells.word` reads them; none of them is unstated."""
    interner = Interner()
    codes = cells.by_cell(content, lambda cell: interner.code(cells.word(cell)), np.int32)
    return CategoricalColumn(codes, interner.words)


def empty_column(rows: int) -> CategoricalColumn:
    """A column that nobody has told anything about."""
    return CategoricalColumn(np.full(rows, UNSTATED, np.int32), [])


def overlay(below: CategoricalColumn, above: CategoricalColumn, rows: NDArray[np.int64]) -> CategoricalColumn:
    """`below` with what `above` states in these rows (one for each of its cells)."""
    stated = np.flatnonzero(above.codes != UNSTATED)
    if not len(stated):
        return below
    interner = Interner(below.words)
    recode = np.append(interner.codes(list(above.words)), np.int32(MISSING))
    codes = below.codes.copy()
    codes[rows[stated]] = recode[above.codes[stated]]  # MISSING picks the appended one
    return CategoricalColumn(codes, interner.words)
