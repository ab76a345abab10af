"""How loud new items are made: as far as the ranking of all others bears it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from personalization.recommending import Recommender  # noqa: E402
from personalization.recommending.mix import Mix  # noqa: E402
from personalization.recommending.sparse import Neighbours  # noqa: E402
from training.recommendations.item_table import ItemTable  # noqa: E402
from training.recommendations.log import Log  # noqa: E402
from training.recommendations.newness import LENGTHS, MARGINS, Newness, newness  # noqa: E402
from training.recommendations.splits import Targets  # noqa: E402

ITEMS, TASTES, USERS = 120, 4, 1_500


def shop(noise: float) -> tuple[Recommender, ItemTable, Log, Targets, np.ndarray]:
    """Items of a taste, told by content; everybody has two items of one taste and takes another one.

    noise   of what items have of their own, beside their taste
    """
    random = np.random.default_rng(0)
    taste = np.arange(ITEMS) % TASTES
    features = Neighbours(np.arange(ITEMS + 1), taste.astype(np.int32), np.ones(ITEMS, np.float32))
    content = np.eye(TASTES, TASTES, dtype=np.float32) * 0.6
    own = (np.eye(TASTES, TASTES)[taste] * 0.4 + random.normal(0, noise, (ITEMS, TASTES))).astype(np.float32)
    table = ItemTable(tf.Variable(own), tf.Variable(content), features, 0.0)
    liked = random.integers(0, TASTES, USERS)
    item = (random.integers(0, ITEMS // TASTES, (USERS, 3)) * TASTES + liked[:, None]).astype(np.int32)
    rows = USERS * 3
    log = Log(
        np.repeat(np.arange(USERS), 3).astype(np.int32), item.ravel(), np.arange(rows, dtype=np.int64) * 86_400_000,
        np.tile(np.arange(3), USERS).astype(np.int32), np.zeros(rows, np.int8), np.arange(USERS + 1) * 3, ITEMS,
    )  # fmt: skip
    ends = np.arange(USERS) * 3 + 2
    count = np.bincount(item[:, :2].ravel(), minlength=ITEMS).astype(float)

    def encode(inputs: Any) -> np.ndarray:
        return inputs["vectors"].sum(axis=1).astype(np.float32)

    recommender = Recommender(
        [str(n) for n in range(ITEMS)], table.vectors(), np.zeros((2, ITEMS), np.float32), {},
        np.zeros(ITEMS, np.float32), Mix(), encode,
    )  # fmt: skip
    return recommender, table, log, Targets(np.arange(USERS), ends, ends, ends + 1), count


def test_where_new_items_are_as_good_as_others_they_are_made_longer_until_others_lose() -> None:
    recommender, table, log, questions, count = shop(noise=0.02)
    length = newness(recommender, table, log, questions, count, seed=0).length
    # .6 of content against about 1: any shorter than the others, new items cost nothing, and as long as they, they come first.
    assert 1.2 <= length < 0.6**-1


def test_without_content_or_questions_nothing_is_changed() -> None:
    recommender, table, log, questions, count = shop(noise=0.02)
    assert newness(recommender, replace(table, features=None, content=None), log, questions, count, seed=0) == Newness()
    assert newness(recommender, table, log, questions.take(np.arange(300)), count, seed=0) == Newness()
    assert 1.0 in LENGTHS


def test_the_margin_is_the_largest_that_the_others_bear() -> None:
    """Of the places of a list the last ones are worth least; where others are found there, a margin costs them."""
    recommender, table, log, questions, count = shop(noise=0.02)
    found = newness(recommender, table, log, questions, count, seed=0)
    assert found.margin in MARGINS
    # With much of their own, others are told apart by what content does not know: their best stand far above the rest.
    own, apart, *rest = shop(noise=0.5)
    assert (newness(own, apart, *rest, seed=0).margin or MARGINS[0]) > found.margin
