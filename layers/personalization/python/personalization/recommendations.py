"""What to show next: items of the bundle ranked for histories.

The graph takes `history` int64 (N, L), codes of the items in order, oldest first, padded on the left with −1, and answers
`scores` float32 (N, items).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundle import Bundle

ITEMS_JSON: Final = "items.json"
HISTORIES_PER_RUN: Final = 256


def recommend(bundle: Bundle, histories: Sequence[Sequence[str]], k: int) -> list[list[dict[str, Any]]]:
    """The best `k` distinct items for each history, best first: ``{"item_id", "score"}``.

    histories   item ids, oldest first; ids that the bundle does not know are skipped, an empty history is a cold user
    k           fewer are answered only where the bundle has fewer items

    Items of the history come after all others unless the training data showed repeat buying (`repeat_buying`).
    """
    answers: list[list[dict[str, Any]]] = []
    for start in range(0, len(histories), HISTORIES_PER_RUN):
        answers.extend(_recommend(bundle, histories[start : start + HISTORIES_PER_RUN], k))
    return answers


def _recommend(bundle: Bundle, histories: Sequence[Sequence[str]], k: int) -> list[list[dict[str, Any]]]:
    items, code_of = _items(bundle.file(ITEMS_JSON))
    known = [[code_of[item] for item in history if item in code_of] for history in histories]
    longest = int(bundle.manifest["history_window"]["max_events"])
    scores = bundle.run({"history": left_padded(known, longest)})["scores"].astype(np.float64)
    k = min(k, len(items))
    ranking = scores
    if not bundle.manifest.get("repeat_buying"):
        ranking = scores.copy()
        below = scores.max(axis=1) - scores.min(axis=1) + 1.0  # seen items keep their order, below all the others
        for row, history in enumerate(known):
            ranking[row, history] -= below[row]
    best = np.argsort(-ranking, axis=1, kind="stable")[:, :k]
    return [
        [{"item_id": items[code], "score": round(float(scores[row, code]), 6)} for code in best[row]]
        for row in range(len(histories))
    ]


def left_padded(histories: Sequence[Sequence[int]], longest: int) -> NDArray[np.int64]:
    """(N, L) codes, the newest at the right, −1 to the left of the oldest; L ≥ 1 is at most `longest`."""
    width = max(1, min(longest, max(map(len, histories), default=1)))
    out = np.full((len(histories), width), -1, dtype=np.int64)
    for row, history in enumerate(histories):
        recent = history[-width:]
        if recent:
            out[row, -len(recent) :] = recent
    return out


@lru_cache(maxsize=4)
def _items(path: Path) -> tuple[list[str], dict[str, int]]:
    """Item ids in the order of the graph's scores, and their codes; a version's file never changes."""
    items: list[str] = orjson.loads(path.read_bytes())["items"]
    return items, {item: code for code, item in enumerate(items)}
