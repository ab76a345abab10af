"""Response bodies of profiles and segments; see `api.response_models`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from personalization.api.response_models import (
    Count,
    ModelVersion,
    Probability,
    ProbabilityExplanation,
    ResponseEnvelope,
    ResponseModel,
    omittable,
)
from personalization.profiles.behaviour import SEGMENTS
from personalization.profiles.predict import TOP_CATEGORIES
from personalization.profiles.rfm import NAMES

SegmentName = Annotated[str, Field(json_schema_extra={"enum": [segment.name for segment in SEGMENTS]})]
SegmentAction = Annotated[
    str, Field(json_schema_extra={"enum": sorted({segment.action for segment in SEGMENTS})}, description="for the shop to take")
]
RfmName = Annotated[str, Field(json_schema_extra={"enum": list(NAMES)})]
Score = Annotated[int, Field(ge=1, le=5)]
FeatureGroup = dict[str, float | None]


class RfmSegment(ResponseModel):
    """By recency, frequency and monetary value, scored 1 to 5 (best) by the quintiles of the training data."""

    name: RfmName
    recency: Score | None
    frequency: Score | None
    monetary: Score | None


class ProfileBehaviour(ResponseModel):
    """By what the model predicts."""

    name: SegmentName
    action: SegmentAction


class CategoryShare(ResponseModel):
    category: str
    share: float | None


class CategoryProbability(ResponseModel):
    category: str
    probability: Probability


class Profile(ResponseModel):
    """Predictions are missing without a model, and features where a request with ready features did not send them."""

    user_id: str = omittable()
    as_of: AwareDatetime
    source: Annotated[Literal["events", "features", "state", "none"], Field(description="what describes the user")]
    probability: Probability = omittable("of a purchase within the horizon")
    horizon_days: Count = omittable()
    propensity: dict[str, Probability] = omittable("probability of a purchase within so many days")
    churn_risk: Probability = omittable("1 − P(purchase within the churn horizon)")
    churn_horizon_days: Count = omittable()
    expected_orders: float = omittable("up to the horizon")
    expected_spend: float = omittable("up to the horizon")
    next_categories: Annotated[list[CategoryProbability], Field(max_length=TOP_CATEGORIES)] = omittable(
        "of the next purchase, the most probable first"
    )
    activity: Annotated[FeatureGroup, Field(description="numbers of events by kind, viewing time, mean rating")]
    frequency: Annotated[FeatureGroup, Field(description="orders, orders of late, days between orders")]
    value: Annotated[FeatureGroup, Field(description="net value in the history window, of late and in all; value of an order")]
    recency: Annotated[FeatureGroup, Field(description="days since the last event, the last purchase, the first event")]
    preferred_categories: Annotated[list[CategoryShare], Field(max_length=TOP_CATEGORIES)]
    segment: Annotated[RfmSegment | None, Field(description="null where the model has no quintiles")]
    behaviour: Annotated[ProfileBehaviour | None, Field(description="null where the model does not distinguish users")]
    explanation: ProbabilityExplanation = omittable("with `explain`")


class ProfilesResponse(ResponseEnvelope):
    profiles: list[Profile]


class SegmentMeans(ResponseModel):
    size: Count
    share: Probability | None
    mean_probability: float | None
    mean_churn_risk: float | None
    mean_expected_spend: float | None


class SegmentSummary(SegmentMeans):
    name: SegmentName
    rule: str
    action: SegmentAction
    evidence: Annotated[str | None, Field(description="reason for the action, in one sentence")]
    export: Annotated[
        str | None,
        Field(description="key in the data bucket of a file with the ids of its users; null for a segment without users"),
    ]


class RfmSummary(SegmentMeans):
    name: RfmName


class SegmentSpread(ResponseModel):
    coverage: Annotated[float | None, Field(description="share of the users in a segment of buyers, not among the prospects")]
    diversity: Annotated[
        float | None,
        Field(description="effective number of segments, the exponential of the entropy of their shares (Hill 1973)"),
    ]


class RfmSummaries(SegmentSpread):
    segments: list[RfmSummary]


class SegmentsResponse(ResponseEnvelope, SegmentSpread):
    made_at: Annotated[AwareDatetime, Field(description="when the job ended")]
    of_model: ModelVersion
    of_file: str
    as_of: Annotated[AwareDatetime | None, Field(description="moment for which users were described")]
    users: Count
    mean_probability: Annotated[float | None, Field(description="of a purchase within the horizon")]
    mean_churn_risk: float | None
    mean_expected_spend: float | None
    segments: list[SegmentSummary]
    rfm: Annotated[
        RfmSummaries | None, Field(description="the same users by recency, frequency and value; null without quintiles")
    ]
