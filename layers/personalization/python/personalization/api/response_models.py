"""Response bodies shared by the jobs, and those of events, users, models and flat tables.

Only `deploy.openapi` and tests import this module: validation would cost every response milliseconds. Tests validate what
the handlers return.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from personalization.api.models import INVALID, NONE, PUBLISHED, UNREACHABLE
from personalization.tabular.explain import TOP

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
PointerStateName = Annotated[str, Field(json_schema_extra={"enum": [PUBLISHED, NONE, INVALID, UNREACHABLE]})]


def omittable(description: str | None = None) -> Any:
    """A field that some responses do not have; where it is present it is never null unless its type allows it."""
    return Field(default_factory=lambda: None, description=description)


class ResponseModel(BaseModel):
    """Base of all parts of responses. A field that is not declared fails the tests."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ModelVersion(ResponseModel):
    name: str
    version: str


class ResponseEnvelope(ResponseModel):
    """Fields of every response."""

    request_id: Annotated[UUID, Field(description="follows from the `Idempotency-Key`, else it is random")]
    model: Annotated[ModelVersion | None, Field(description="the model behind the response")]
    variant: Literal["champion", "challenger"] | None
    degraded: Annotated[bool, Field(description="whether the response is less than it would be if every store responded")]
    degraded_reason: str = omittable("present where `degraded` is true")
    generated_at: AwareDatetime
    warnings: list[str] = omittable("what was ignored or is missing, in sentences")


class ProblemFault(ResponseModel):
    pointer: Annotated[str, Field(description="RFC 6901 pointer into the body, or the name of a parameter")]
    detail: Annotated[str, Field(description="what was expected, what was received")]


class Problem(ResponseModel):
    """An error by RFC 9457."""

    type: str
    title: str
    status: int = omittable("missing in rare errors of the gateway itself")
    detail: str
    code: Annotated[str, Field(description="stable name of the kind of error", examples=["invalid-input"])]
    request_id: str
    errors: Annotated[list[ProblemFault], Field(description="at most 100; `detail` gives the whole number")]


class Contribution(ResponseModel):
    feature: str
    name: Annotated[str, Field(description="the feature in words", examples=["days since the last purchase"])]
    value: Annotated[float | str | None, Field(description="null where it is missing")]
    contribution: float
    standard_error: Annotated[float | None, Field(description="of the sampling; a larger budget makes it smaller")]
    direction: Literal["raises", "lowers"]


class ProbabilityExplanation(ResponseModel):
    """Shapley values on the logit of a probability, against background rows of the training data.

    The contributions and the others sum to `logit` − `base`. They describe the model, not what would happen if a value changed.
    """

    target: Annotated[str, Field(description="the explained outcome", examples=["buys within 14 days"])]
    base: Annotated[float, Field(description="mean logit of the background rows")]
    logit: Annotated[float, Field(description="logit of the explained probability")]
    contributions: Annotated[
        list[Contribution], Field(max_length=TOP, description="largest first; contributions of zero are left out")
    ]
    others: Annotated[float, Field(description="sum of the contributions that are not listed")]
    rows: Annotated[int, Field(description="rows that the model evaluated for the explanation")]


class TableResult(ResponseModel):
    row: Count
    probability: Probability
    explanation: ProbabilityExplanation = omittable()


class TableResponse(ResponseEnvelope):
    results: list[TableResult]


class EventsResponse(ResponseEnvelope):
    accepted: Annotated[Count, Field(description="new events")]
    duplicates: Annotated[Count, Field(description="events that were stored before")]
    settled: Count = omittable(
        "clicks and orders charged to an ad's campaign by this request; present where an event came from an ad"
    )


class LifetimeSums(ResponseModel):
    """Sums over events that are no longer stored one by one."""

    events: Count
    purchases: Count
    value: float
    first: AwareDatetime | None
    last: AwareDatetime | None


class StoredEvent(ResponseModel):
    event_type: str
    timestamp: AwareDatetime
    received_at: AwareDatetime
    item_id: str = omittable()
    category: str = omittable()
    channel: str = omittable()
    quantity: float = omittable()
    unit_price: float = omittable()
    event_value: float = omittable()
    view_duration: float = omittable("seconds")
    rating: float = omittable()


class StoredItem(ResponseModel):
    key: str
    expires_at: AwareDatetime
    content: dict[str, Any] = omittable("of items other than events")


class UserResponse(ResponseEnvelope):
    user_id: str
    events: list[StoredEvent]
    older: LifetimeSums | None
    items: list[StoredItem]


class Expiry(ResponseModel):
    store: str
    what: str
    gone_by: AwareDatetime


class ErasureResponse(ResponseEnvelope):
    removed: Annotated[dict[str, Count], Field(description="items by kind")]
    expires_later: Annotated[list[Expiry], Field(description="copies that the erasure does not reach")]


class Challenger(ResponseModel):
    version: str
    share: Annotated[Probability, Field(description="share of the users that the challenger serves")]


class ModelStatus(ResponseModel):
    name: str
    state: PointerStateName
    version: str = omittable()
    previous: str | None = omittable()
    challenger: Challenger | None = omittable()


class ModelsResponse(ResponseEnvelope):
    models: list[ModelStatus]


class HealthResponse(ResponseEnvelope):
    status: Literal["ok", "degraded"]
    models: dict[str, PointerStateName]
