"""From the cells of a label column to 0 and 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.cells import words
from personalization.core.errors import InvalidInput

_POSITIVE: Final = frozenset({"1", "true", "yes", "y", "t", "positive", "pos", "是", "真"})
_NEGATIVE: Final = frozenset({"0", "false", "no", "n", "f", "negative", "neg", "否", "假"})


@dataclass(frozen=True, slots=True)
class Label:
    """values     float32 (rows,) 1 and 0; meaningless where not `known`
    known      bool (rows,)
    positive   the word that counts as 1, and `negative` as 0
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    positive: str
    negative: str


def parse_label(name: str, cells: Sequence[Any], positive: str | None = None) -> Label:
    """Read a binary label: 0/1, true/false, yes/no, or any two words.

    The positive of two words is the one that says so (1, true, yes, …), of two numbers the larger, else the rarer, and of
    two equally frequent ones the last in the alphabet; or the one given as `positive`. Upper and lower case are one.

    Raises `InvalidInput` where there are not exactly two different values, with the values.
    """
    found = [None if word is None else word.casefold() for word in words(cells)]
    counts = Counter(word for word in found if word is not None)
    if len(counts) != 2:
        shown = ", ".join(f"{word[:40]!r} ({count} rows)" for word, count in counts.most_common(8))
        more = f" and {len(counts) - 8} more" if len(counts) > 8 else ""
        raise InvalidInput(
            f"expected the label column {name!r} to hold two different values, received {len(counts)}"
            f"{': ' + shown if shown else ''}{more}"
        )
    chosen = _positive(counts) if positive is None else positive.strip().casefold()
    if chosen not in counts:
        raise InvalidInput(f"expected the positive label to be one of {sorted(counts)}, received {positive!r}")
    (negative,) = counts.keys() - {chosen}
    return Label(
        np.array([word == chosen for word in found], np.float32),
        np.array([word is not None for word in found], bool),
        chosen,
        negative,
    )


def apply_label(name: str, cells: Sequence[Any], like: Label) -> Label:
    """Read the label of another file as `like` was read; one of its two values may be absent there.

    Raises `InvalidInput` for a third value.
    """
    found = [None if word is None else word.casefold() for word in words(cells)]
    others = sorted({word for word in found if word is not None} - {like.positive, like.negative})
    if others:
        raise InvalidInput(
            f"expected the label column {name!r} to hold {like.negative!r} and {like.positive!r} as in the training table, "
            f"received also {', '.join(repr(word[:40]) for word in others[:8])}"
        )
    return Label(
        np.array([word == like.positive for word in found], np.float32),
        np.array([word is not None for word in found], bool),
        like.positive,
        like.negative,
    )


def _positive(counts: Counter[str]) -> str:
    first, second = sorted(counts)
    said = [word for word in (first, second) if word in _POSITIVE]
    denied = [word for word in (first, second) if word in _NEGATIVE]
    if len(said) == 1:
        return said[0]
    if len(denied) == 1:
        return second if denied[0] == first else first
    try:
        return max((first, second), key=float)
    except ValueError:
        return second if counts[second] <= counts[first] else first
