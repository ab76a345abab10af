"""Scores of scenarios against plain arithmetic, reasons, and the rule for ties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest

from personalization.catalog import empty_catalog, parse_items
from personalization.recommendations.eligibility import Filters
from personalization.recommendations.history import InteractionHistory, from_items
from personalization.recommendations.ranking import RankingOptions, rank_items
from personalization.recommendations.reasons import reasons
from personalization.recommendations.recommender import RECENT
from personalization.recommendations.retrieval import top_k
from personalization.recommendations.scenarios import bought_together, buy_again, personal, popular_items, similar
from personalization.recommendations.scoring import evaluation_scores
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog
from tests.recommendations_bundle import CONTENT_TABLE, ITEMS, hand_bundle, relevance_by_hand, scores_by_hand

IDS = list(ITEMS)


@pytest.fixture
def catalog(tmp_path: Path) -> ServingCatalog:
    return serving_catalog(hand_bundle(tmp_path))


def history(catalog: ServingCatalog, *items: str) -> InteractionHistory:
    return from_items([[IDS.index(item) for item in items]], catalog.recommender.pace, 50)


def names(catalog: ServingCatalog, codes: np.ndarray) -> list[str]:
    return [catalog.items[code] for code in codes]


@pytest.mark.parametrize("had", [("teapot",), ("spade", "teapot"), ("mug", "lamp", "spade", "spade")])
def test_scores_are_those_of_plain_arithmetic(catalog: ServingCatalog, had: tuple[str, ...]) -> None:
    scores = personal(catalog, history(catalog, *had))
    expected = scores_by_hand(had)
    every = np.arange(len(IDS))
    exact = scores.exact(catalog, every)
    assert exact.tolist() == pytest.approx([expected[item] for item in IDS], rel=1e-5)
    assert scores.approximate == pytest.approx(exact, rel=1e-5)
    wanted = [relevance_by_hand(expected, item) if item not in had else 0.0 for item in IDS]
    assert scores.relevance(every, exact).tolist() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("repeat", [False, True])
def test_the_order_is_that_of_evaluation(tmp_path: Path, repeat: bool) -> None:
    catalog = serving_catalog(hand_bundle(tmp_path, repeat_buying=repeat))
    had = history(catalog, "teapot", "spade", "teapot")
    found = rank_items(catalog, personal(catalog, had), RankingOptions(k=200)).codes
    expected = np.argsort(-evaluation_scores(catalog.recommender, had)[0], kind="stable")
    if not repeat:
        expected = np.concatenate([expected[~np.isin(expected, had.item)], expected[np.isin(expected, had.item)]])
    kept = [code for code in expected.tolist() if IDS[code] not in ("mug", "mug-red")]  # variants, of which one is shown
    assert [code for code in found.tolist() if IDS[code] not in ("mug", "mug-red")] == kept
    assert len(set(found.tolist())) == len(found) == len(IDS) - 1
    if not repeat:
        assert set(names(catalog, found[-2:])) == {"teapot", "spade"}


def test_weights_of_older_bundles_load(tmp_path: Path) -> None:
    """They also held a margin for items that came after training."""
    older = serving_catalog(hand_bundle(tmp_path / "older", mix={"newcomer": 0.7, "margin": 0.25}))
    newer = serving_catalog(hand_bundle(tmp_path / "newer"))
    assert older.recommender.blend == replace(newer.recommender.blend, cold_item_scale=0.7)


def test_an_item_that_came_after_training_competes_by_its_scaled_content_embedding(tmp_path: Path) -> None:
    bundle = hand_bundle(tmp_path, mix={"newcomer": 0.5})
    part = parse_items({"item_id": ["hoe"], "category": ["garden"], "brand": ["Bolt"]}, 1, UTC).part
    catalog = serving_catalog(bundle, empty_catalog().with_part(part))
    code = catalog.code_of_item["hoe"]
    embedding = 0.5 * 2.0 * (np.array(CONTENT_TABLE[1]) + CONTENT_TABLE[3])  # features weigh 2, see `item_content`
    assert catalog.vectors(np.array([code]))[0] == pytest.approx(embedding, rel=1e-6)
    scores = personal(catalog, history(catalog, "lamp"))
    assert scores.exact(catalog, np.array([code]))[0] == pytest.approx(2.0 * embedding @ ITEMS["lamp"][0], rel=1e-5)
    ranked = rank_items(catalog, scores, RankingOptions(k=20))
    assert code in ranked.codes
    assert (np.diff(ranked.scores[:-1]) <= 0).all()  # but for the lamp, which comes last


def test_a_new_user_gets_what_many_take(catalog: ServingCatalog) -> None:
    scores = personal(catalog, history(catalog))
    found = rank_items(catalog, scores, RankingOptions(k=3, filters=Filters(exclude_ids=("mug-red",))))
    assert names(catalog, found.codes) == ["mug", "kettle", "spade"]  # popularity 3, 2.5, 2.2
    counts = np.expm1([row[1] for row in ITEMS.values()])
    assert found.relevance[0] == pytest.approx(np.expm1(3.0) / counts.sum(), rel=1e-5)
    assert scores.personalized is False
    assert reasons(catalog, scores, found.codes, timed=False)[0] == {"kind": "popular", "text": "popular in kitchen"}


def test_a_new_user_in_a_category_gets_that_first(catalog: ServingCatalog) -> None:
    found = rank_items(catalog, personal(catalog, history(catalog), "garden"), RankingOptions(k=3))
    assert names(catalog, found.codes) == ["spade", "rake", "mug"]


def test_trending_ranks_by_recent_popularity(catalog: ServingCatalog) -> None:
    scores = popular_items(catalog, history(catalog, "teapot"), RECENT)
    found = rank_items(catalog, scores, RankingOptions(k=2))
    assert names(catalog, found.codes) == ["spade", "kettle"]  # recent 3, 2.5
    assert reasons(catalog, scores, found.codes, timed=False)[0] == {"kind": "trending", "text": "trending in garden"}


def test_similar_items_leave_the_item_and_its_variants_out(catalog: ServingCatalog) -> None:
    scores = similar(catalog, history(catalog), IDS.index("mug"))
    found = rank_items(catalog, scores, RankingOptions(k=20))
    assert names(catalog, found.codes)[0] == "teapot"
    assert not {"mug", "mug-red"} & set(names(catalog, found.codes))
    a, b = np.array([0.9, 0.1]), np.array([1.0, 0.0])
    assert found.scores[0] == pytest.approx(0.5 * a @ b / np.linalg.norm(a), rel=1e-5)  # half the cosine, nothing alike
    by_content = similar(catalog, history(catalog), IDS.index("teapot"))
    kettle = ITEMS["kettle"][0]
    expected = 0.5 * kettle[0] / np.linalg.norm(kettle) + 0.5 * 0.6
    assert by_content.exact(catalog, np.array([IDS.index("kettle")]))[0] == pytest.approx(expected, rel=1e-5)
    assert reasons(catalog, scores, found.codes[:1], timed=False) == [
        {"kind": "similar_to", "text": "similar to Mug", "item_id": "mug"}
    ]


def test_bought_together_shows_no_items_that_were_never_bought_together(catalog: ServingCatalog) -> None:
    scores = bought_together(catalog, history(catalog), [IDS.index("teapot")])
    found = rank_items(catalog, scores, RankingOptions(k=20))
    assert names(catalog, found.codes) == ["mug", "kettle", "lamp"]
    assert found.scores.tolist() == pytest.approx([0.8 / 1.5, 0.5 / 1.5, 0.5 * 0.4 / 1.5], rel=1e-5)
    found_reasons = reasons(catalog, scores, found.codes, timed=False)
    assert [reason["text"] for reason in found_reasons] == ["often bought with Teapot"] * 2 + ["often bought after Teapot"]


@pytest.mark.parametrize("repeat", [False, True])
def test_buy_again_shows_what_was_bought(tmp_path: Path, repeat: bool) -> None:
    catalog = serving_catalog(hand_bundle(tmp_path, repeat_buying=repeat))
    scores = buy_again(catalog, history(catalog, "teapot", "spade", "teapot"))
    found = rank_items(catalog, scores, RankingOptions(k=20))
    assert set(names(catalog, found.codes)) == {"teapot", "spade"}
    if repeat:
        assert names(catalog, found.codes)[0] == "teapot"
    assert (found.relevance > 0).all()
    assert reasons(catalog, scores, found.codes, timed=False)[0]["text"] == "you bought this before"


def test_a_reason_states_the_interval_where_times_are_known(catalog: ServingCatalog) -> None:
    code = IDS.index("teapot")
    had = InteractionHistory(
        np.full(3, code, np.int32), np.array([0, 3]), np.array([2, 1, 0], np.int32),
        np.array([33.0, 18.0, 5.0], np.float32), np.full(3, 3, np.int8),
    )  # fmt: skip
    scores = buy_again(catalog, had)
    found_reasons = reasons(catalog, scores, np.array([code]), timed=True)[0]
    assert found_reasons == {"kind": "buy_again", "text": "you buy this every 2 weeks", "every_days": 14.0}


def test_the_reason_is_the_largest_part_of_the_score(catalog: ServingCatalog) -> None:
    scores = personal(catalog, history(catalog, "spade", "teapot"))
    codes = np.array([IDS.index(item) for item in ("mug", "rake", "secret")])
    found_reasons = reasons(catalog, scores, codes, timed=False)
    # mug: 2 · (.5·.9 + .5·.1) = 1 by the embeddings, .8 by teapot: the embeddings weigh more, and teapot is nearer than spade
    assert found_reasons[0] == {"kind": "because_of", "text": "because you chose Teapot", "item_id": "teapot"}
    assert found_reasons[1]["item_id"] == "spade"
    teapot = personal(catalog, history(catalog, "teapot"))
    small = replace(teapot, embedding=teapot.embedding * 0.1)
    found_reasons = reasons(catalog, small, codes[:1], timed=False)
    assert found_reasons[0] == {"kind": "often_bought_with", "text": "often bought with Teapot", "item_id": "teapot"}


@pytest.mark.parametrize("count", [1, 3, 6, 9])
def test_the_best_are_the_best_and_ties_go_by_code(count: int) -> None:
    values = np.array([1, 5, 5, 2, 5, 0, 2, 9], np.float32)
    mask = np.array([1, 1, 1, 1, 1, 0, 1, 1], bool)
    expected = [7, 1, 2, 4, 3, 6, 0][:count]
    assert top_k(values, count, mask).tolist() == expected
    assert top_k(values, count).tolist() == [7, 1, 2, 4, 3, 6, 0, 5][:count]
