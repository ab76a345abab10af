"""The bodies of ``POST /v1/ads/score`` and ``POST /v1/ads/plan``."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from personalization.ads.auction import Pricing
from personalization.ads.candidates import MAX_MONEY
from personalization.ads.exploration import Exploration, Mode
from personalization.ads.valuation import Objective, Slot
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

Row = dict[str, Any]


class SlotBody(RequestBody):
    """A place for one ad. `floor` is an expected value per 1,000 impressions. Without a position the slot counts as seen."""

    slot_id: Id
    placement: Id | None = None
    position: Annotated[int, Field(ge=1, le=1_000)] | None = None
    floor: Annotated[float, Field(ge=0, le=MAX_MONEY)] = 0.0

    def slot(self) -> Slot:
        return Slot(self.slot_id, self.placement, self.position, self.floor)


class ExplorationBody(RequestBody):
    """The policy by which other ads than the best are chosen. `epsilon` is also added to softmax and thompson."""

    mode: Mode = "none"
    epsilon: Annotated[float, Field(ge=0, le=1)] | None = None
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.1
    draws: Annotated[int, Field(ge=10, le=MAX_DRAWS)] = 400
    strength: Annotated[float, Field(gt=0, le=1e9)] = 100.0

    def policy(self) -> Exploration:
        default = DEFAULT_EPSILON if self.mode == "epsilon" else 0.0
        epsilon = default if self.epsilon is None else self.epsilon
        return Exploration(self.mode, epsilon, self.temperature, self.draws, self.strength)


class AdUser(RequestBody):
    """The user, with events or computed features; with neither, state is read."""

    user_id: Id | None = None
    session_id: Id | None = None
    events: Annotated[list[Row], Field(max_length=MAX_EVENTS_PER_CALL)] | None = None
    features: Row | None = None
    attributes: Row | None = None
    personalization: Literal["on", "off"] = "on"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.events is not None and self.features is not None:
            raise ValueError("expected events or features, received both")
        return self


class ScoreRequest(AdUser):
    """Ads for the slots of a page or a mail.

    candidates    rows of the ads table; without them all ads of the catalog compete, or those of `campaigns`
    slots         one slot by default
    channel       ads made for another channel take no part
    exclude       ids of ads and campaigns that take no part
    objective     paid: ads are ranked by revenue; own: the shop's own ads, by profit
    auction       what a winner pays
    pacing        campaigns ahead of their spending plan: shade their scores, throttle them at random, or off
    preview       decide without charging budgets or counting impressions
    explain       add explanations of the winners' rates, and the propensities of all candidates
    """

    candidates: Annotated[list[Row], Field(min_length=1, max_length=MAX_CANDIDATES_PER_CALL)] | None = None
    campaigns: Annotated[list[Id], Field(min_length=1, max_length=MAX_FILTER_IDS)] | None = None
    slots: list[SlotBody] = Field(default_factory=lambda: [SlotBody(slot_id="1")], min_length=1, max_length=MAX_SLOTS)
    channel: Id | None = None
    exclude: list[Id] = Field(default_factory=list, max_length=MAX_FILTER_IDS)
    as_of: Timestamp | None = None
    objective: Objective = "paid"
    auction: Pricing = "second_price"
    exploration: ExplorationBody = ExplorationBody()
    pacing: Literal["shade", "throttle", "off"] = "shade"
    preview: bool = False
    explain: bool = False

    @model_validator(mode="after")
    def _sources_and_slots(self) -> Self:
        if self.candidates is not None and self.campaigns is not None:
            raise ValueError("expected candidates or campaigns, received both")
        slot_ids = [slot.slot_id for slot in self.slots]
        if len(set(slot_ids)) < len(slot_ids):
            raise ValueError("expected each slot_id once, received one repeatedly")
        return self


class PlanRequest(AdUser):
    """When, where and with which creative to send an ad.

    users       user ids of a segment; the plan is the same for all of them
    ad          a row of the ads table
    ad_id       id of an ad in the catalog
    starts_at   first hour; by default the next full hour
    hours       length of the plan, in steps of `step` hours
    channels, creatives   to compare; by default the ad's own
    k           number of cells in the response
    """

    users: Annotated[list[Id], Field(min_length=1, max_length=MAX_USERS_PER_CALL)] | None = None
    ad: Row | None = None
    ad_id: Id | None = None
    starts_at: Timestamp | None = None
    hours: Annotated[int, Field(ge=1, le=MAX_PLAN_HOURS)] = 168
    step: Annotated[int, Field(ge=1, le=24)] = 1
    channels: Annotated[list[Id], Field(min_length=1, max_length=MAX_PLAN_WORDS)] | None = None
    creatives: Annotated[list[Id], Field(min_length=1, max_length=MAX_PLAN_WORDS)] | None = None
    objective: Objective = "own"
    k: Annotated[int, Field(ge=1, le=MAX_PLAN_BEST)] = 5

    @model_validator(mode="after")
    def _one_ad_and_one_user(self) -> Self:
        if (self.ad is None) == (self.ad_id is None):
            raise ValueError(f"expected either ad or ad_id, received {'none' if self.ad is None else 'both'}")
        if self.users is not None and self.model_fields_set & {"user_id", "session_id", "events", "features", "attributes"}:
            raise ValueError("expected users, or one user's fields; received both")
        return self
