"""How loud new items are made: as far as the ranking of all others bears it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from personalization.recommendations import Recommender  # noqa: E402
from personalization.recommendations.blend import BlendWeights  # noqa: E402
from personalization.recommendations.sparse import NeighborMatrix  # noqa: E402
from training.tasks.recommendations.cold_start_items import ALLOWED, LENGTHS, MARGINS, Newness, newness  # noqa: E402
from training.tasks.recommendations.interaction_log import InteractionLog  # noqa: E402
from training.tasks.recommendations.item_table import ItemTable  # noqa: E402
from training.tasks.recommendations.splits import HeldOutBaskets  # noqa: E402

ITEMS, TASTES, USERS = 120, 4, 1_500


def shop(noise: float) -> tuple[Recommender, ItemTable, InteractionLog, HeldOutBaskets, np.ndarray]:
    """Items of a taste, told by content; everybody has two items of one taste and takes another one.

    noise   of what items have of their own, beside their taste
    """
    random = np.random.default_rng(0)
    taste = np.arange(ITEMS) % TASTES
    features = NeighborMatrix(np.arange(ITEMS + 1), taste.astype(np.int32), np.ones(ITEMS, np.float32))
    content = np.eye(TASTES, TASTES, dtype=np.float32) * 0.6
    own = (np.eye(TASTES, TASTES)[taste] * 0.4 + random.normal(0, noise, (ITEMS, TASTES))).astype(np.float32)
    table = ItemTable(tf.Variable(own), tf.Variable(content), features, 0.0)
    liked = random.integers(0, TASTES, USERS)
    item = (random.integers(0, ITEMS // TASTES, (USERS, 3)) * TASTES + liked[:, None]).astype(np.int32)
    rows = USERS * 3
    log = InteractionLog(
        np.repeat(np.arange(USERS), 3).astype(np.int32), item.ravel(), np.arange(rows, dtype=np.int64) * 86_400_000,
        np.tile(np.arange(3), USERS).astype(np.int32), np.zeros(rows, np.int8), np.arange(USERS + 1) * 3, ITEMS,
    )  # fmt: skip
    ends = np.arange(USERS) * 3 + 2
    count = np.bincount(item[:, :2].ravel(), minlength=ITEMS).astype(float)

    def encode(inputs: Any) -> np.ndarray:
        return inputs["vectors"].sum(axis=1).astype(np.float32)

    recommender = Recommender(
        [str(n) for n in range(ITEMS)], table.vectors(), np.zeros((2, ITEMS), np.float32), {},
        np.zeros(ITEMS, np.float32), BlendWeights(), encode,
    )  # fmt: skip
    return recommender, table, log, HeldOutBaskets(np.arange(USERS), ends, ends, ends + 1), count


def test_without_content_or_questions_nothing_is_changed() -> None:
    recommender, table, log, questions, count = shop(noise=0.02)
    assert newness(recommender, replace(table, features=None, content=None), log, questions, count, seed=0) == Newness()
    assert newness(recommender, table, log, questions.take(np.arange(300)), count, seed=0) == Newness()
    assert Newness().length in LENGTHS


def test_what_is_found_costs_the_others_what_it_may_and_shows_new_items() -> None:
    """Counted once more, list by list: the others' NDCG with and without the new items, and how many of those are found."""
    recommender, table, log, questions, count = shop(noise=0.05)
    found = newness(recommender, table, log, questions, count, seed=0)
    assert found.margin in MARGINS
    assert found.length in LENGTHS
    playing = (count > 0) & (np.random.default_rng(0).random(len(count)) < 0.1)
    content = np.eye(TASTES, dtype=np.float32)[np.arange(ITEMS) % TASTES] * 0.6
    histories = questions.histories(log, recommender.window)
    heard = replace(recommender, vectors=np.where(playing[:, None], content, recommender.vectors).astype(np.float32))
    users = heard.user_vectors(histories)
    target = log.item[questions.starts]

    def judged(margin: float) -> tuple[float, float]:
        gains, hits = [], []
        for row, user in enumerate(users):
            scores = np.where(playing, found.length, 1.0) * (heard.vectors @ user)
            scores[histories.item[histories.offsets[row] : histories.offsets[row + 1]]] = -9.0
            old, new = (codes[np.argsort(-scores[codes], kind="stable")] for codes in map(np.flatnonzero, (~playing, playing)))
            entered = 0
            while entered < 4 and scores[new[entered]] + margin >= scores[old[9 - entered]]:
                entered += 1
            shown = [*old[: 10 - entered], *new[:entered]]
            place = shown.index(target[row]) if target[row] in shown else None
            (hits if playing[target[row]] else gains).append(0.0 if place is None else 1 / np.log2(place + 2))
        return float(np.mean(gains)), float(np.mean(np.array(hits) > 0))

    (without, none), (value, shown) = judged(-99.0), judged(found.margin)
    assert none == 0 < shown
    # Equal scores stand in another order there, so about.
    assert value >= without * (1 - ALLOWED) - 0.003
    if found.margin < MARGINS[-1]:
        assert judged(found.margin + 0.3)[0] < without * (1 - ALLOWED) + 0.003
