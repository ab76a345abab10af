"""Expected values by hand; who is blocked, and why; rows that are not valid."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.ads.candidates import Candidates
from personalization.ads.eligibility import Limits, find_blocked
from personalization.ads.predict import PredictedRates
from personalization.ads.valuation import PositionModel, Slot, value_own, value_paid
from personalization.core.errors import InvalidInput
from tests.ad_factory import NOON, candidates_of, valuation_of


@pytest.mark.parametrize(
    ("row", "value", "units"),
    [
        # P(seen) .5, P(click | seen) .1, P(conversion | click) .2
        ({"bid": 4.0, "billing": "cpm"}, 0.004, 0.001),
        ({"bid": 4.0, "billing": "cpc"}, 0.2, 0.05),
        ({"bid": 4.0, "billing": "CPA"}, 0.04, 0.01),
        ({"bid": 4.0}, 0.2, 0.05),  # a bid is for a click unless it says otherwise
        ({"value": 30.0}, 0.3, 0.01),  # a value is that of a conversion
        ({"value": 30.0, "billing": "cpc"}, 0.3, 0.05),
        ({"value": 30.0, "billing": "cpm"}, 0.3, 0.001),
        ({"bid": 4.0, "value": 30.0, "billing": "cpc"}, 0.2, 0.05),  # who bids pays his bid
    ],
)
def test_paid_values_by_hand(row: dict[str, object], value: float, units: float) -> None:
    valuation = valuation_of(candidates_of(row), click=0.1, conversion_given_click=0.2)
    assert valuation.expected(0.5)[0] == pytest.approx(value)
    assert valuation.billed_units(0.5)[0] == pytest.approx(units)


def test_own_values_by_hand() -> None:
    ads = candidates_of({"value": 30.0, "cost": 0.1, "discount": 5.0})
    rates = PredictedRates(np.array([0.2]), np.array([0.1]), effect=np.array([0.04]))
    # seen by half: .5 × (30 × .04 − 5 × .2 × .5) − .1
    assert value_own(ads, rates).expected(0.5)[0] == pytest.approx(0.5 * (1.2 - 0.5) - 0.1)
    # without a model of the effect the response replaces it: .5 × (30 − 5) × .1 − .1
    assert valuation_of(ads, 0.2, 0.5, own=True).expected(0.5)[0] == pytest.approx(0.5 * 2.5 - 0.1)


def test_own_ads_without_any_value_are_ranked_by_conversions() -> None:
    assert valuation_of(candidates_of({}, {}), [0.2, 0.1], 0.5, own=True).expected(1.0).tolist() == pytest.approx([0.1, 0.05])


def test_a_sampled_rate_changes_the_value_by_what_it_decides() -> None:
    ads = candidates_of(
        {"bid": 4.0, "billing": "cpm"}, {"bid": 4.0}, {"bid": 4.0, "billing": "cpa"}, {"value": 30.0, "billing": "cpm"}
    )
    valuation = valuation_of(ads, 0.1, 0.2)
    sampled = valuation.expected(0.5, np.array([[0.3, 0.3, 0.3, 0.3]]))[0]
    assert sampled.tolist() == pytest.approx([0.004, 0.6, 0.6, 4.5])


def test_a_candidate_is_blocked_by_the_first_reason_that_holds() -> None:
    ads = candidates_of(
        {},
        {"bid": 1, "ad_id": "bad"},
        {"bid": 1, "campaign_id": "bad"},
        {"bid": 1, "channel": "mail"},
        {"bid": 1, "starts_at": NOON + 1},
        {"bid": 1, "ends_at": NOON},
        {"bid": 1, "starts_at": NOON, "ends_at": NOON + 1, "frequency_cap": 2, "ad_id": "seen"},
        {"bid": 1, "campaign_id": "poor"},
        {"bid": 1, "frequency_cap": 3, "ad_id": "again"},
        {"bid": 1, "campaign_id": "poor", "ends_at": NOON - 1, "frequency_cap": 0},
    )
    limits = Limits(NOON, "web", excluded=["bad"], impressions={"seen": 2, "again": 2}, spent=["poor"])
    reasons = [None if loss is None else loss.reason for loss in find_blocked(ads, valuation_of(ads), limits)]
    assert reasons == [
        "ineligible", "ineligible", "ineligible", "ineligible", "out_of_flight", "out_of_flight", "frequency_cap",
        "budget_spent", None, "out_of_flight",
    ]  # fmt: skip


def test_an_ad_without_a_channel_fits_any_request_and_a_request_without_one_any_ad() -> None:
    ads = candidates_of({"bid": 1}, {"bid": 1, "channel": "mail"})
    valuation = valuation_of(ads)
    assert [loss is None for loss in find_blocked(ads, valuation, Limits(NOON, "web"))] == [True, False]
    assert [loss is None for loss in find_blocked(ads, valuation, Limits(NOON))] == [True, True]


def test_faults_name_the_cell() -> None:
    rows = [
        {"ad_id": "a", "campaign_id": "c", "bid": "dear"},
        {"ad_id": "a", "campaign_id": "", "bid": -1},
        {"campaign_id": "c", "billing": "cpx", "starts_at": "soon", "budget_period": "week"},
    ]
    with pytest.raises(InvalidInput) as raised:
        Candidates.from_rows(rows)
    assert {fault.pointer for fault in raised.value.faults} == {
        "/candidates/0/bid", "/candidates/1/ad_id", "/candidates/1/campaign_id", "/candidates/1/bid",
        "/candidates/2/ad_id", "/candidates/2/billing", "/candidates/2/starts_at", "/candidates/2/budget_period",
    }  # fmt: skip


def test_a_campaign_has_the_smallest_budget_of_its_ads_and_the_span_of_all() -> None:
    ads = candidates_of(
        {"campaign_id": "c", "budget": 10, "starts_at": 5, "ends_at": 20},
        {"campaign_id": "c", "budget": 8, "starts_at": 3, "ends_at": 9},
        {"campaign_id": "open", "budget": 1, "budget_period": "day"},
        {"campaign_id": "free"},
    )
    closed, open_ = ads.budgets()
    assert (closed.campaign_id, closed.money, closed.daily, closed.starts_at, closed.ends_at) == ("c", 8, False, 3000, 20000)
    assert (open_.campaign_id, open_.money, open_.daily, open_.starts_at, open_.ends_at) == ("open", 1, True, None, None)


def test_p_seen_by_placement_and_position() -> None:
    model = PositionModel.from_manifest({"examination": {"": [0.9, 0.5], "mail": [0.8, 0.4, 0.2]}})
    places = [("mail", 1), ("mail", 3), ("mail", 9), ("home", 2), (None, 1), ("home", None)]
    assert [model.p_seen(Slot("s", placement, position)) for placement, position in places] == [0.8, 0.2, 0.2, 0.5, 0.9, 1.0]
    assert PositionModel().p_seen(Slot("s", "mail", 7)) == 1.0
    assert not PositionModel.from_manifest({}).table


def test_an_ad_that_states_no_money_has_no_value() -> None:
    ads = candidates_of({}, {"bid": 1})
    valuation = value_paid(ads, PredictedRates(np.array([0.1, 0.1]), np.array([0.01, 0.01])))
    assert np.isnan(valuation.value_if_seen).tolist() == [True, False]
