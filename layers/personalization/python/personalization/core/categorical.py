"""Columns of words as codes into a vocabulary. A million cells take megabytes, and each different word is looked at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells

MISSING: Final = -1  # code of a cell that is stated to be empty
UNSTATED: Final = -2  # code of a cell that is not stated: an earlier value remains valid

Codes = NDArray[np.int32]


class Vocabulary:
    """Codes for words, in order of first appearance. `None` and the empty word have the code `MISSING`.

    >>> vocabulary = Vocabulary()
    >>> vocabulary.codes(["tea", None, "cups", "tea"]).tolist(), vocabulary.words
    ([0, -1, 1, 0], ['tea', 'cups'])
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words: list[str] = list(words)
        self._codes = {word: code for code, word in enumerate(self.words)}

    def code(self, word: str | None) -> int:
        """Code of a word; a new word is added."""
        if not word:
            return MISSING
        code = self._codes.get(word)
        if code is None:
            code = self._codes[word] = len(self.words)
            self.words.append(word)
        return code

    def codes(self, words: Sequence[str | None]) -> Codes:
        """(N,) codes of N words; new words are added."""
        return np.fromiter((self.code(word) for word in words), dtype=np.int32, count=len(words))


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """N cells of text.

    codes   int32 (N,) into `words`, or `MISSING`, or `UNSTATED`
    words   the vocabulary, each word once
    """

    codes: Codes
    words: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def from_cells(cls, content: Sequence[Any] | NDArray[Any] | None, rows: int) -> CategoricalColumn:
        """`rows` cells as `cells.word` reads them. All are `MISSING` where the table has no such column (`None`)."""
        if content is None:
            return cls(np.full(rows, MISSING, np.int32), [])
        vocabulary = Vocabulary()
        codes = cells.map_cells(content, lambda cell: vocabulary.code(cells.word(cell)), np.int32)
        return cls(codes, vocabulary.words)

    @classmethod
    def empty(cls, rows: int) -> CategoricalColumn:
        """`rows` cells that are not stated."""
        return cls(np.full(rows, UNSTATED, np.int32), [])

    def word(self, row: int) -> str | None:
        """The cell of one row."""
        code = int(self.codes[row])
        return self.words[code] if code >= 0 else None

    def code(self, word: str) -> int:
        """Code of a word; a code that no row has where the vocabulary lacks the word."""
        try:
            return self.words.index(word)
        except ValueError:
            return UNSTATED - 1

    def cells(self) -> list[str | None]:
        """All N cells, `None` where missing or not stated."""
        lookup = [*self.words, None, None]  # codes −1 and −2 pick the last ones
        return [lookup[code] for code in self.codes.tolist()]

    def take(self, rows: NDArray[np.int64]) -> CategoricalColumn:
        """The cells of these rows, with the same vocabulary."""
        return CategoricalColumn(self.codes[rows], self.words)

    def resize(self, rows: int) -> CategoricalColumn:
        """The column with cells that are not stated appended, up to `rows` cells."""
        if rows == len(self):
            return self
        return CategoricalColumn(np.append(self.codes, np.full(rows - len(self), UNSTATED, np.int32)), self.words)

    def compact(self) -> CategoricalColumn:
        """The same cells with a vocabulary of the words that occur, in the same order."""
        used = np.unique(self.codes[self.codes >= 0])
        if len(used) == len(self.words):
            return self
        recode = np.zeros(len(self.words) + 2, np.int32)
        recode[used] = np.arange(len(used), dtype=np.int32)
        recode[MISSING], recode[UNSTATED] = MISSING, UNSTATED
        return CategoricalColumn(recode[self.codes], [self.words[code] for code in used.tolist()])

    def update(self, rows: NDArray[np.int64], stated: CategoricalColumn) -> CategoricalColumn:
        """The column after `stated` (one cell for each of `rows`) replaces the cells that it states."""
        changed = np.flatnonzero(stated.codes != UNSTATED)
        if not len(changed):
            return self
        vocabulary = Vocabulary(self.words)
        recode = np.append(vocabulary.codes(list(stated.words)), np.int32(MISSING))
        codes = self.codes.copy()
        codes[rows[changed]] = recode[stated.codes[changed]]  # MISSING picks the appended one
        return CategoricalColumn(codes, vocabulary.words)
