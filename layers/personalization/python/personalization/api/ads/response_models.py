"""Response bodies of ad decisions and plans; see `api.response_models`."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from personalization.ads.candidates import Billing
from personalization.ads.eligibility import Reason
from personalization.ads.exploration import Mode
from personalization.ads.valuation import Objective
from personalization.api.response_models import (
    Count,
    Probability,
    ProbabilityExplanation,
    ResponseEnvelope,
    ResponseModel,
    omittable,
)

Basis = Literal["money", "predicted_rate", "uplift", "response"]
Effect = Annotated[float, Field(ge=-1, le=1)]


class AdRates(ResponseModel):
    """Rates that the model predicts; those that it does not predict are missing."""

    pctr: Probability = omittable("P(click | seen)")
    pcvr: Probability = omittable("P(conversion | click)")
    pconversion: Probability = omittable("P(conversion | seen)")
    effect: Effect = omittable("what showing the ad adds to P(conversion)")


class Winner(AdRates):
    ad_id: str
    campaign_id: str
    impression_id: Annotated[str, Field(description="the `decision_id` of events that follow from this impression")]
    seen: Annotated[Probability, Field(description="P(seen) of the slot")]
    expected_value: Annotated[float, Field(description="of this impression: money, or the rate where no ad states money")]
    price: Annotated[float, Field(ge=0, description="of 1,000 impressions, a click or a conversion, by `billing`")]
    billing: Billing | None
    reserved: Annotated[float, Field(ge=0)] = omittable("charged to the campaign's budget, or reserved in it")
    propensity: Annotated[Probability, Field(description="probability of this choice")]
    explored: bool
    explanation: ProbabilityExplanation = omittable("with `explain`")


class SlotResult(ResponseModel):
    slot_id: str
    winner: Winner | None
    propensities: dict[str, Probability] = omittable(
        "with `explain`: probability of each ad to win this slot, given the winners of the slots before"
    )


class Loser(AdRates):
    ad_id: str
    reason: Reason
    detail: str
    expected_value: float = omittable()


class ExplorationPolicy(ResponseModel):
    mode: Mode
    epsilon: float
    draws: Annotated[Count, Field(description="sampled policies behind the propensities; 0 where they are exact")]
    seed: Annotated[str, Field(description="of all random draws, hexadecimal; follows from the `decision_id`")]


class AdProbability(ResponseModel):
    ad_id: str
    probability: Probability


class ScoreResponse(ResponseEnvelope):
    decision_id: UUID
    objective: Objective
    basis: Basis = omittable("what the ads are ranked by")
    exploration: ExplorationPolicy = omittable()
    positions: Literal["known", "unknown"] = omittable("whether the model predicts how often a position is seen")
    slots: list[SlotResult]
    losers: list[Loser]
    scores: Annotated[list[AdProbability], Field(description="all candidates in order, each with the model's first rate")]


class PlanEvidence(ResponseModel):
    gain: Annotated[float, Field(description="over the mean of the grid")]
    hour_gain: float = omittable()
    channel_gain: float = omittable()
    creative_gain: float = omittable()
    standard_error: float = omittable("over the users")
    share_of_users: Probability = omittable("share of the users for whom the cell is at least as good as the mean of the grid")
    impressions: dict[str, Count] = omittable("training impressions with this hour, channel and creative")


class PlanCell(AdRates):
    hour: Annotated[str, Field(description="begin of the hour, in the shop's time zone")]
    channel: str = omittable()
    creative: str = omittable()
    expected_value: float
    evidence: PlanEvidence


class PlanResponse(ResponseEnvelope):
    ad_id: str
    objective: Objective
    basis: Basis = omittable("what the values measure, of `objective: own`")
    users: Annotated[int, Field(ge=1)]
    cells: Annotated[int, Field(ge=1)]
    mean_expected_value: Annotated[float, Field(description="of an impression, over all cells and users")]
    best: list[PlanCell]
