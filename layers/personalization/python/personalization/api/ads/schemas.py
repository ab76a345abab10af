"""What callers may ask about ads: the bodies of ``POST /v1/ads/score`` and ``POST /v1/ads/plan``."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from personalization.ads.exploration import Exploration
from personalization.ads.slots import Slot
from personalization.ads.terms import MAX_DRAWS, MAX_MONEY, MAX_SLOTS, Auction, Mode, Objective
from personalization.api.requests import Id, RequestBody, Timestamp
from personalization.core.schema import (
    MAX_CANDIDATES_PER_CALL,
    MAX_EVENTS_PER_CALL,
    MAX_FILTER_IDS,
    MAX_USERS_PER_CALL,
)

EPSILON: Final = 0.05  # of a policy that says epsilon and nothing more
MAX_PLAN_HOURS: Final = 24 * 14
MAX_PLAN_WORDS: Final = 20
MAX_PLAN_BEST: Final = 50

Row = dict[str, Any]


class SlotBody(RequestBody):
    """A place for one ad. `floor` is expected value per 1,000 impressions; without a position it counts as seen."""

    slot_id: Id
    placement: Id | None = None
    position: Annotated[int, Field(ge=1, le=1_000)] | None = None
    floor: Annotated[float, Field(ge=0, le=MAX_MONEY)] = 0.0

    def slot(self) -> Slot:
        return Slot(self.slot_id, self.placement, self.position, self.floor)


class ExplorationBody(RequestBody):
    """How other ads than the best are tried. `epsilon` alone means one in twenty; it is added to softmax and thompson too."""

    mode: Mode = "none"
    epsilon: Annotated[float, Field(ge=0, le=1)] | None = None
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.1
    draws: Annotated[int, Field(ge=10, le=MAX_DRAWS)] = 400
    strength: Annotated[float, Field(gt=0, le=1e9)] = 100.0

    def policy(self) -> Exploration:
        usual = EPSILON if self.mode == "epsilon" else 0.0
        epsilon = usual if self.epsilon is None else self.epsilon
        return Exploration(self.mode, epsilon, self.temperature, self.draws, self.strength)


class AdUser(RequestBody):
    """For whom: told by events or by ready features; by neither, state is read."""

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

    candidates    rows of the ads table; without them the ads that were dropped last, or those of `campaigns`
    slots         one slot where none is given
    channel       ads that are made for another one stay out
    exclude       ads and campaigns that stay out
    objective     paid: by what is paid for; own: the shop's own ads, by what they change
    pacing        how campaigns keep to their spending plan: shade their scores, throttle them at random, or not at all
    preview       decide as if: no budget is charged, no impression counted
    explain       also why: contributions to the winners' chances, and the chances of all candidates
    """

    candidates: Annotated[list[Row], Field(min_length=1, max_length=MAX_CANDIDATES_PER_CALL)] | None = None
    campaigns: Annotated[list[Id], Field(min_length=1, max_length=MAX_FILTER_IDS)] | None = None
    slots: list[SlotBody] = Field(default_factory=lambda: [SlotBody(slot_id="1")], min_length=1, max_length=MAX_SLOTS)
    channel: Id | None = None
    exclude: list[Id] = Field(default_factory=list, max_length=MAX_FILTER_IDS)
    as_of: Timestamp | None = None
    objective: Objective = "paid"
    auction: Auction = "second_price"
    exploration: ExplorationBody = ExplorationBody()
    pacing: Literal["shade", "throttle", "off"] = "shade"
    preview: bool = False
    explain: bool = False

    @model_validator(mode="after")
    def _sources_and_slots(self) -> Self:
        if self.candidates is not None and self.campaigns is not None:
            raise ValueError("expected candidates or campaigns, received both")
        names = [slot.slot_id for slot in self.slots]
        if len(set(names)) < len(names):
            raise ValueError("expected each slot_id once")
        return self


class PlanRequest(AdUser):
    """When, where and with which creative an ad is best sent.

    users       several users stand for a segment: the plan is the same for all of them
    ad          a row of the ads table, or the id of an ad of the catalogue
    starts_at   first hour; the next full hour where it is not given
    hours       how many hours from there on, `step` hours apart
    channels, creatives   that are compared; those of the ad where none are given
    k           how many of the best are answered
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
    def _one_ad_and_one_viewer(self) -> Self:
        if (self.ad is None) == (self.ad_id is None):
            raise ValueError("expected ad or ad_id, one of them")
        if self.users is not None and self.model_fields_set & {"user_id", "session_id", "events", "features", "attributes"}:
            raise ValueError("expected users, or one user's fields; received both")
        return self
