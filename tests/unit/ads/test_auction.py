"""Auctions by hand, and what holds for any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.ads.candidates import Candidates
from personalization.ads.eligibility import Limits, find_blocked
from personalization.ads.exploration import Exploration
from personalization.ads.pacing import Pace
from personalization.ads.predict import PredictedRates
from personalization.ads.valuation import PositionModel, Slot, value_paid
from tests.ad_factory import NOON, auction_of, candidates_of, reasons, valuation_of, winners


def test_second_price_is_what_it_takes_to_beat_the_next() -> None:
    ads = candidates_of({"bid": 2.0}, {"bid": 1.0}, {"bid": 9.0, "billing": "cpm"})
    # .2, .1 and .009 an impression
    result = auction_of(ads, valuation_of(ads, 0.1))
    assert winners(result) == {0: 0}
    assert result.wins[0].price == pytest.approx(1.0)
    assert result.wins[0].charge == pytest.approx(0.1)
    assert reasons(result) == {1: "outscored", 2: "outscored"}


def test_prices_are_in_the_winners_own_unit() -> None:
    ads = candidates_of({"bid": 90.0, "billing": "cpm"}, {"bid": 0.5}, {"bid": 1.0, "billing": "cpa"})
    # .09 an impression against .5 × .1 and 1 × .1 × .2; the thousand costs what beats the click bidder
    assert auction_of(ads, valuation_of(ads, 0.1, 0.2)).wins[0].price == pytest.approx(50.0)


def test_first_price_is_the_bid_and_an_ad_alone_pays_the_floor() -> None:
    ads = candidates_of({"bid": 2.0}, {"bid": 1.0})
    assert auction_of(ads, valuation_of(ads), pricing="first_price").wins[0].price == 2.0
    alone = candidates_of({"bid": 2.0})
    assert auction_of(alone, valuation_of(alone, 0.1), [Slot("s", floor=50.0)]).wins[0].price == pytest.approx(0.5)
    assert auction_of(alone, valuation_of(alone)).wins[0].price == 0.0


def test_a_value_bids_for_its_ad() -> None:
    ads = candidates_of({"value": 30.0, "billing": "cpc"}, {"bid": 1.0})
    # worth .1 × .5 × 30 an impression; a click is worth 15 and costs what beats .1
    win = auction_of(ads, valuation_of(ads, 0.1, 0.5)).wins[0]
    assert (win.candidate, win.expected_value, win.price) == (0, pytest.approx(1.5), pytest.approx(1.0))


def test_a_campaign_does_not_raise_its_own_price() -> None:
    ads = candidates_of({"bid": 3.0, "campaign_id": "c"}, {"bid": 2.0, "campaign_id": "c"}, {"bid": 1.0})
    assert auction_of(ads, valuation_of(ads)).wins[0].price == pytest.approx(1.0)


def test_the_slot_that_is_seen_most_goes_first() -> None:
    ads = candidates_of({"bid": 1.0}, {"bid": 2.0}, {"bid": 3.0})
    positions = PositionModel({"": [0.2, 0.9, 0.5]})
    slots = [Slot("low", position=1), Slot("top", position=2), Slot("middle", position=3)]
    result = auction_of(ads, valuation_of(ads), slots, positions=positions)
    assert winners(result) == {1: 2, 2: 1, 0: 0}
    assert [win.p_seen for win in result.wins] == [0.9, 0.5, 0.2]
    # a click costs the same in any slot; what the slot changes is how many there will be
    assert [win.price for win in result.wins] == pytest.approx([2.0, 1.0, 0.0])
    assert result.wins[0].charge == pytest.approx(2.0 * 0.9 * 0.1)


def test_the_reasons_of_losers() -> None:
    ads = candidates_of({"bid": 5.0}, {"bid": 4.0}, {"bid": 3.0}, {"bid": 0.1}, {"bid": 9.0, "ends_at": NOON}, {"bid": 0.0})
    paces = {"c0": Pace(weight=0.0), "c1": Pace(weight=0.5)}
    result = auction_of(ads, valuation_of(ads, 0.1), [Slot("s", floor=20.0)], paces=paces)
    # a1 would have won with its whole score: .4 against .3; halved it loses
    assert winners(result) == {0: 2}
    assert reasons(result) == {0: "paced", 1: "paced", 3: "below_floor", 4: "out_of_flight", 5: "below_floor"}
    assert result.wins[0].price == pytest.approx(2.0)  # a1's shaded .2


def test_a_shaded_winner_pays_what_it_took_with_its_shade() -> None:
    ads = candidates_of({"bid": 4.0}, {"bid": 1.0})
    result = auction_of(ads, valuation_of(ads), paces={"c0": Pace(weight=0.5)})
    assert result.wins[0].price == pytest.approx(2.0)  # .5 × 2 = 1


def test_one_who_is_held_back_and_would_have_lost_anyway_is_outscored() -> None:
    ads = candidates_of({"bid": 4.0}, {"bid": 1.0})
    assert reasons(auction_of(ads, valuation_of(ads), paces={"c1": Pace(participation=0.0)})) == {1: "outscored"}
    assert reasons(auction_of(ads, valuation_of(ads), paces={"c0": Pace(participation=0.0)})) == {0: "paced"}


def test_explored_slots_pay_the_floor() -> None:
    ads = candidates_of({"bid": 4.0}, {"bid": 2.0})
    slot = Slot("s", floor=100.0)
    tried = [
        auction_of(ads, valuation_of(ads, 0.1), [slot], f"d{n}", exploration=Exploration("epsilon", epsilon=0.5)).wins[0]
        for n in range(60)
    ]
    assert {win.candidate for win in tried} == {0, 1}
    for win in tried:
        assert win.explored == (win.candidate == 1)
        assert win.price == pytest.approx(1.0 if win.explored else 2.0)
        assert win.propensity == (0.25 if win.explored else 0.75)


def test_own_ads_are_shown_only_where_they_pay() -> None:
    ads = candidates_of({"value": 10.0, "cost": 0.4}, {"value": 10.0, "cost": 0.6})
    result = auction_of(ads, valuation_of(ads, 0.1, 0.5, own=True), [Slot("s"), Slot("t")])
    assert winners(result) == {0: 0}
    assert result.wins[0].price == result.wins[0].charge == 0.4
    assert reasons(result) == {1: "below_floor"}


def test_equal_scores_go_to_the_first_and_the_same_id_decides_the_same() -> None:
    ads = candidates_of({"bid": 1.0}, {"bid": 1.0})
    assert winners(auction_of(ads, valuation_of(ads))) == {0: 0}
    policy = Exploration("thompson", draws=50)
    one, other = (auction_of(ads, valuation_of(ads), [Slot("s"), Slot("t")], "d9", exploration=policy) for _ in range(2))
    assert one.wins == other.wins
    assert one.losses == other.losses


def test_no_candidates_and_no_eligible_ones() -> None:
    nobody = candidates_of()
    assert auction_of(nobody, valuation_of(nobody)).wins == []
    ads = candidates_of({"bid": 1.0, "ends_at": NOON})
    assert reasons(auction_of(ads, valuation_of(ads))) == {0: "out_of_flight"}


@st.composite
def markets(draw: st.DrawFn) -> dict[str, Any]:
    money = st.floats(0, 20).map(lambda number: round(number, 3))
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {"campaign_id": st.sampled_from("pqrs"), "billing": st.sampled_from(["cpm", "cpc", "cpa", None])},
                optional={"bid": money, "value": money, "ends_at": st.sampled_from([NOON - 1, NOON + 1]),
                          "channel": st.sampled_from(["web", "mail"]), "frequency_cap": st.integers(0, 2)},
            ),
            max_size=8,
        )
    )  # fmt: skip
    chance = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0001, 0.9))
    part = st.sampled_from([0.0, 0.3, 1.0])
    return {
        "rows": rows,
        "click": draw(st.lists(chance, min_size=len(rows), max_size=len(rows))),
        "conversion": draw(st.lists(chance, min_size=len(rows), max_size=len(rows))),
        "slots": [
            Slot(str(n), position=position, floor=floor)
            for n, (position, floor) in enumerate(draw(st.lists(st.tuples(st.integers(1, 3), money), max_size=4)))
        ],
        "paces": {word: Pace(draw(part), draw(part)) for word in "pqr"},
        "policy": Exploration(
            draw(st.sampled_from(["none", "epsilon", "softmax", "thompson"])), draw(st.sampled_from([0.0, 0.2])), draws=20
        ),
        "pricing": draw(st.sampled_from(["first_price", "second_price"])),
        "decision_id": draw(st.text(max_size=3)),
    }


@given(markets())
def test_what_holds_for_any_auction(market: dict[str, Any]) -> None:
    ads = Candidates.from_rows([{"ad_id": f"a{n}"} | row for n, row in enumerate(market["rows"])])
    click = np.array(market["click"])
    valuation = value_paid(ads, PredictedRates(click, click * np.array(market["conversion"])))
    limits = Limits(NOON, "web", impressions={"a0": 1, "a1": 1}, spent=["s"])
    blocked = find_blocked(ads, valuation, limits)
    positions, slots = PositionModel({"": [0.9, 0.5, 0.1]}), market["slots"]
    result = auction_of(
        ads, valuation, slots, market["decision_id"], limits, positions=positions, paces=market["paces"],
        exploration=market["policy"], pricing=market["pricing"],
    )  # fmt: skip
    won = [win.candidate for win in result.wins]
    assert sorted([*won, *result.losses]) == list(range(len(ads)))
    assert len({win.slot for win in result.wins}) == len(won)
    for win in result.wins:
        row, slot = market["rows"][win.candidate], slots[win.slot]
        pace = market["paces"].get(row["campaign_id"], Pace())
        assert blocked[win.candidate] is None
        assert row.get("channel") in (None, "web")
        assert row["campaign_id"] != "s"
        assert pace.weight > 0
        assert pace.participation > 0
        assert win.expected_value > 0
        assert win.expected_value >= slot.floor / 1000
        assert 0 < win.propensity <= 1 + 1e-12
        assert win.price >= 0
        if "bid" in row:
            assert win.price <= row["bid"]
        assert win.charge <= win.expected_value * (1 + 1e-9)
        assert win.charge >= 0
    for slot_index, chances in result.probabilities.items():
        assert chances.min(initial=0.0) >= 0
        assert chances.sum() <= 1 + 1e-9
        for row_index in np.flatnonzero(chances):
            assert blocked[row_index] is None
        chosen = [win for win in result.wins if win.slot == slot_index]
        assert all(chances[win.candidate] == win.propensity for win in chosen)
        if market["paces"] == dict.fromkeys("pqr", Pace(1.0, 1.0)) and chosen:
            assert chances.sum() == pytest.approx(1.0)
