"""Scores of a list are those of plain arithmetic, and of the recommender that training judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from personalization.recommendations import InteractionHistory, from_items
from personalization.recommendations.filters import Filters
from personalization.recommendations.ranking import RankingOptions, rank_items, top
from personalization.recommendations.reasons import reasons
from personalization.recommendations.scenarios import RECENT, bought_together, buy_again, demand, personal, similar
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog
from tests.recommending import ITEMS, hand_bundle, relevance_by_hand, scores_by_hand

IDS = list(ITEMS)


@pytest.fixture
def here(tmp_path: Path) -> ServingCatalog:
    return serving_catalog(hand_bundle(tmp_path))


def history(here: ServingCatalog, *items: str) -> InteractionHistory:
    return from_items([[IDS.index(item) for item in items]], here.recommender.pace, 50)


def names(here: ServingCatalog, codes: np.ndarray) -> list[str]:
    return [here.items[code] for code in codes]


@pytest.mark.parametrize("had", [("teapot",), ("spade", "teapot"), ("mug", "lamp", "spade", "spade")])
def test_scores_are_those_of_plain_arithmetic(here: ServingCatalog, had: tuple[str, ...]) -> None:
    scoring = personal(here, history(here, *had))
    expected = scores_by_hand(had)
    assert scoring.values.tolist() == pytest.approx([expected[item] for item in IDS], rel=1e-5)
    assert scoring.values == pytest.approx(here.recommender.scores(history(here, *had))[0], rel=1e-5)
    wanted = [relevance_by_hand(expected, item) if item not in had else 0.0 for item in IDS]
    assert scoring.relevance(np.arange(len(IDS))).tolist() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("repeat", [False, True])
def test_the_order_is_that_of_the_recommender(tmp_path: Path, repeat: bool) -> None:
    here = serving_catalog(hand_bundle(tmp_path, repeat_buying=repeat))
    had = history(here, "teapot", "spade", "teapot")
    found = rank_items(here, personal(here, had), RankingOptions(k=200)).codes
    recommender = here.recommender
    expected = np.argsort(-recommender.placed(recommender.scores(had), had)[0], kind="stable")
    kept = [code for code in expected.tolist() if IDS[code] not in ("mug", "mug-red")]  # variants, of which one is shown
    assert [code for code in found.tolist() if IDS[code] not in ("mug", "mug-red")] == kept
    assert len(set(found.tolist())) == len(found) == len(IDS) - 1
    if not repeat:
        assert set(names(here, found[-2:])) == {"teapot", "spade"}


def test_weights_of_older_bundles_load(tmp_path: Path) -> None:
    """They also held a scale and a margin of items that came after training."""
    older = serving_catalog(hand_bundle(tmp_path / "older", mix={"newcomer": 0.7, "margin": 0.25}))
    newer = serving_catalog(hand_bundle(tmp_path / "newer"))
    assert older.recommender.mix == newer.recommender.mix


def test_somebody_new_gets_what_many_take(here: ServingCatalog) -> None:
    scoring = personal(here, history(here))
    found = rank_items(here, scoring, RankingOptions(k=3, filters=Filters(exclude_ids=("mug-red",))))
    assert names(here, found.codes) == ["mug", "kettle", "spade"]  # popularity 3, 2.5, 2.2
    counts = np.expm1([row[1] for row in ITEMS.values()])
    assert found.relevance[0] == pytest.approx(np.expm1(3.0) / counts.sum(), rel=1e-5)
    assert scoring.personalized is False
    assert reasons(here, scoring, found.codes, timed=False)[0] == {"kind": "popular", "text": "popular in kitchen"}


def test_somebody_new_in_a_category_gets_that_first(here: ServingCatalog) -> None:
    found = rank_items(here, personal(here, history(here), "garden"), RankingOptions(k=3))
    assert names(here, found.codes) == ["spade", "rake", "mug"]


def test_trending_goes_by_what_is_taken_lately(here: ServingCatalog) -> None:
    scoring = demand(here, history(here, "teapot"), RECENT)
    found = rank_items(here, scoring, RankingOptions(k=2))
    assert names(here, found.codes) == ["spade", "kettle"]  # recent 3, 2.5
    assert reasons(here, scoring, found.codes, timed=False)[0] == {"kind": "trending", "text": "trending in garden"}


def test_similar_items_leave_the_item_and_its_variants_out(here: ServingCatalog) -> None:
    scoring = similar(here, history(here), IDS.index("mug"))
    found = rank_items(here, scoring, RankingOptions(k=20))
    assert names(here, found.codes)[0] == "teapot"
    assert not {"mug", "mug-red"} & set(names(here, found.codes))
    a, b = np.array([0.9, 0.1]), np.array([1.0, 0.0])
    assert found.scores[0] == pytest.approx(0.5 * a @ b / np.linalg.norm(a), rel=1e-5)  # half the cosine, nothing alike
    by_content = similar(here, history(here), IDS.index("teapot"))
    kettle = ITEMS["kettle"][0]
    expected = 0.5 * kettle[0] / np.linalg.norm(kettle) + 0.5 * 0.6
    assert by_content.values[IDS.index("kettle")] == pytest.approx(expected, rel=1e-5)
    assert reasons(here, scoring, found.codes[:1], timed=False) == [
        {"kind": "similar_to", "text": "similar to Mug", "item_id": "mug"}
    ]


def test_bought_together_shows_nothing_that_never_was(here: ServingCatalog) -> None:
    scoring = bought_together(here, history(here), [IDS.index("teapot")])
    found = rank_items(here, scoring, RankingOptions(k=20))
    assert names(here, found.codes) == ["mug", "kettle", "lamp"]
    assert found.scores.tolist() == pytest.approx([0.8 / 1.5, 0.5 / 1.5, 0.5 * 0.4 / 1.5], rel=1e-5)
    told = reasons(here, scoring, found.codes, timed=False)
    assert [reason["text"] for reason in told] == ["often bought with Teapot"] * 2 + ["often bought after Teapot"]


@pytest.mark.parametrize("repeat", [False, True])
def test_buy_again_shows_what_was_bought(tmp_path: Path, repeat: bool) -> None:
    here = serving_catalog(hand_bundle(tmp_path, repeat_buying=repeat))
    scoring = buy_again(here, history(here, "teapot", "spade", "teapot"))
    found = rank_items(here, scoring, RankingOptions(k=20))
    assert set(names(here, found.codes)) == {"teapot", "spade"}
    if repeat:
        assert names(here, found.codes)[0] == "teapot"
    assert (found.relevance > 0).all()
    assert reasons(here, scoring, found.codes, timed=False)[0]["text"] == "you bought this before"


def test_a_rhythm_is_told_where_times_are_known(here: ServingCatalog) -> None:
    code = IDS.index("teapot")
    had = InteractionHistory(
        np.full(3, code, np.int32), np.array([0, 3]), np.array([2, 1, 0], np.int32),
        np.array([33.0, 18.0, 5.0], np.float32), np.full(3, 3, np.int8),
    )  # fmt: skip
    scoring = buy_again(here, had)
    told = reasons(here, scoring, np.array([code]), timed=True)[0]
    assert told == {"kind": "buy_again", "text": "you buy this every 2 weeks", "every_days": 14.0}


def test_the_reason_is_the_loudest_part(here: ServingCatalog) -> None:
    scoring = personal(here, history(here, "spade", "teapot"))
    codes = np.array([IDS.index(item) for item in ("mug", "rake", "secret")])
    told = reasons(here, scoring, codes, timed=False)
    # mug: 2 · (.5·.9 + .5·.1) = 1 by the vectors, .8 by teapot: the vectors speak louder, and teapot is nearer than spade
    assert told[0] == {"kind": "because_of", "text": "because you chose Teapot", "item_id": "teapot"}
    assert told[1]["item_id"] == "spade"
    loud = personal(here, history(here, "teapot"))
    quiet = loud.query * 0.1  # the vectors whisper
    told = reasons(here, type(loud)(**{**_fields(loud), "query": quiet}), codes[:1], timed=False)
    assert told[0] == {"kind": "often_bought_with", "text": "often bought with Teapot", "item_id": "teapot"}


def _fields(scoring: object) -> dict[str, object]:
    return {name: getattr(scoring, name) for name in scoring.__dataclass_fields__}  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [1, 3, 6, 9])
def test_the_best_are_the_best_and_ties_go_by_code(count: int) -> None:
    values = np.array([1, 5, 5, 2, 5, 0, 2, 9], np.float32)
    mask = np.array([1, 1, 1, 1, 1, 0, 1, 1], bool)
    expected = [7, 1, 2, 4, 3, 6, 0][:count]
    assert top(values, mask, count).tolist() == expected
    assert top(values, None, count).tolist() == [7, 1, 2, 4, 3, 6, 0, 5][:count]
