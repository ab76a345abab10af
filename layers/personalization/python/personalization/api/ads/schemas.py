"""The bodies of ``POST /v1/ads/score`` and ``POST /v1/ads/plan``."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from personalization.ads.auction import Pricing
from personalization.ads.candidates import MAX_MONEY
from personalization.ads.exploration import Exploration, Mode
from personalization.ads.valuation import Objective, Slot
from personalization.api.json_rows import AdCells, InteractionCells, Row
from personalization.api.requests import Id, RequestBody, Timestamp
from personalization.core.schema import (
    MAX_CANDIDATES_PER_CALL,
    MAX_EVENTS_PER_CALL,
    MAX_FILTER_IDS,
    MAX_USERS_PER_CALL,
)

DEFAULT_EPSILON: Final = 0.05  # of the mode epsilon without a stated one
MAX_SLOTS: Final = 20
MAX_DRAWS: Final = 5_000
MAX_PLAN_HOURS: Final = 24 * 14
MAX_PLAN_WORDS: Final = 20
MAX_PLAN_BEST: Final = 50


class SlotBody(RequestBody):
    """A place for one ad."""

    slot_id: Id
    placement: Id | None = None
    position: Annotated[
        int | None,
        Field(ge=1, le=1_000, description="without one, or with a model that predicts none, the slot counts as seen"),
    ] = None
    floor: Annotated[float, Field(ge=0, le=MAX_MONEY, description="expected value of 1,000 impressions")] = 0.0

    def slot(self) -> Slot:
        return Slot(self.slot_id, self.placement, self.position, self.floor)


class ExplorationBody(RequestBody):
    """The policy by which other ads than the best are chosen. `epsilon` is also added to softmax and thompson."""

    mode: Mode = "none"
    epsilon: Annotated[
        float | None, Field(ge=0, le=1, description=f"share of random choices; {DEFAULT_EPSILON} by default in mode epsilon")
    ] = None
    temperature: Annotated[float, Field(gt=0, le=100, description="of softmax, as a share of the best expected value")] = 0.1
    draws: Annotated[int, Field(ge=10, le=MAX_DRAWS, description="sampled policies behind the propensities of thompson")] = 400
    strength: Annotated[float, Field(gt=0, le=1e9, description="impressions that the model's prediction counts as")] = 100.0

    def policy(self) -> Exploration:
        default = DEFAULT_EPSILON if self.mode == "epsilon" else 0.0
        epsilon = default if self.epsilon is None else self.epsilon
        return Exploration(self.mode, epsilon, self.temperature, self.draws, self.strength)


class AdUser(RequestBody):
    """The user, with events or computed features; with neither, state is read."""

    user_id: Id | None = None
    session_id: Id | None = None
    events: Annotated[list[InteractionCells], Field(max_length=MAX_EVENTS_PER_CALL)] | None = None
    features: Annotated[Row | None, Field(description="ready features by name")] = None
    attributes: Annotated[Row | None, Field(description="columns of the users table")] = None
    personalization: Annotated[
        Literal["on", "off"], Field(description="off: state is not read, and nothing is counted for the user")
    ] = "on"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.events is not None and self.features is not None:
            raise ValueError("expected events or features, received both")
        return self


class ScoreRequest(AdUser):
    """Ads for the slots of a page or a mail: events or features, not both; candidates or campaigns, not both."""

    candidates: Annotated[
        list[AdCells] | None,
        Field(
            min_length=1, max_length=MAX_CANDIDATES_PER_CALL,
            description="without them all ads of the catalog compete, or those of `campaigns`",
        ),
    ] = None  # fmt: skip
    campaigns: Annotated[list[Id], Field(min_length=1, max_length=MAX_FILTER_IDS)] | None = None
    slots: list[SlotBody] = Field(
        default_factory=lambda: [SlotBody(slot_id="1")], min_length=1, max_length=MAX_SLOTS, description="by default one slot"
    )
    channel: Annotated[Id | None, Field(description="ads made for another channel take no part")] = None
    exclude: list[Id] = Field(
        default_factory=list, max_length=MAX_FILTER_IDS, description="ids of ads and campaigns that take no part"
    )
    as_of: Annotated[Timestamp | None, Field(description="time of the decision; now where it is missing")] = None
    objective: Annotated[
        Objective, Field(description="paid: ads are ranked by revenue; own: the shop's own ads, by profit")
    ] = "paid"
    auction: Annotated[Pricing, Field(description="what a winner pays")] = "second_price"
    exploration: ExplorationBody = ExplorationBody()
    pacing: Annotated[
        Literal["shade", "throttle", "off"],
        Field(description="campaigns ahead of their spending plan: shade their scores, throttle them at random, or off"),
    ] = "shade"
    preview: Annotated[bool, Field(description="decide without charging budgets or counting impressions")] = False
    explain: Annotated[
        bool, Field(description="add explanations of the winners' rates, and the propensities of all candidates")
    ] = False

    @model_validator(mode="after")
    def _sources_and_slots(self) -> Self:
        if self.candidates is not None and self.campaigns is not None:
            raise ValueError("expected candidates or campaigns, received both")
        slot_ids = [slot.slot_id for slot in self.slots]
        if len(set(slot_ids)) < len(slot_ids):
            raise ValueError("expected each slot_id once, received one repeatedly")
        return self


class PlanRequest(AdUser):
    """When, where and with which creative to send an ad: `ad` or `ad_id`, and `users` or one user's fields."""

    users: Annotated[
        list[Id] | None,
        Field(min_length=1, max_length=MAX_USERS_PER_CALL, description="of a segment; the plan is the same for all"),
    ] = None
    ad: AdCells | None = None
    ad_id: Annotated[Id | None, Field(description="of an ad in the catalog")] = None
    starts_at: Annotated[Timestamp | None, Field(description="first hour; by default the next full hour")] = None
    hours: Annotated[int, Field(ge=1, le=MAX_PLAN_HOURS, description="length of the plan")] = 168
    step: Annotated[int, Field(ge=1, le=24, description="hours between two cells")] = 1
    channels: Annotated[
        list[Id] | None, Field(min_length=1, max_length=MAX_PLAN_WORDS, description="by default the ad's own")
    ] = None
    creatives: Annotated[
        list[Id] | None, Field(min_length=1, max_length=MAX_PLAN_WORDS, description="by default the ad's own")
    ] = None
    objective: Objective = "own"
    k: Annotated[int, Field(ge=1, le=MAX_PLAN_BEST, description="number of cells in the response")] = 5

    @model_validator(mode="after")
    def _one_ad_and_one_user(self) -> Self:
        if (self.ad is None) == (self.ad_id is None):
            raise ValueError(f"expected either ad or ad_id, received {'none' if self.ad is None else 'both'}")
        if self.users is not None and self.model_fields_set & {"user_id", "session_id", "events", "features", "attributes"}:
            raise ValueError("expected users, or one user's fields; received both")
        return self
