"""``POST /v1/profiles`` and ``GET /v1/profiles/{user_id}``: who are these customers, and what will they do."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from personalization.api.app import Route
from personalization.api.explain_options import Explained
from personalization.api.profiles.describe import ProfileInput, describe_all
from personalization.api.profiles.segments import segment_routes
from personalization.api.requests import Body, Call, moment_ms
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.api.tables import table_routes
from personalization.core.errors import NotFound
from personalization.core.schema import MAX_EVENTS_PER_CALL, MAX_ID_LENGTH, MAX_USERS_PER_CALL
from personalization.profiles.predict import describe

NAME = "profiles"


class User(Body):
    """One user, told by events or by ready features; by neither, state is read."""

    user_id: Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)] | None = None
    events: Annotated[list[dict[str, Any]], Field(max_length=MAX_EVENTS_PER_CALL)] | None = None
    features: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.events is not None and self.features is not None:
            raise ValueError("expected events or features, received both")
        return self


class ProfilesRequest(Explained, User):
    """A list of users, or one user's fields at the top.

    as_of             RFC 3339 or unix time; events after it are not looked at; now where it is not given
    personalization   ``off`` answers from what the request holds, and reads nothing
    """

    users: Annotated[list[User], Field(min_length=1, max_length=MAX_USERS_PER_CALL)] | None = None
    as_of: str | float | None = None
    personalization: Literal["on", "off"] = "on"

    @model_validator(mode="after")
    def _list_or_one(self) -> Self:
        if self.users is not None and self.model_fields_set & User.model_fields.keys():
            raise ValueError("expected users, or one user's fields at the top; received both")
        return self


def routes(services: Services) -> list[Route]:
    def post(call: Call) -> ApiResponse:
        request = call.body(ProfilesRequest)
        as_of_ms = moment_ms(request.as_of, call.now_ms)
        request.check_explained("/users", 1 if request.users is None else len(request.users))
        # A model on trial gets its share of users; a call with several is answered by the champion.
        served = services.model(NAME, request.user_id if request.users is None else None)
        if request.users is None:
            asked = [ProfileInput((), request.user_id, request.events, request.features, request.attributes)]
        else:
            asked = [
                ProfileInput(("users", n), user.user_id, user.events, user.features, user.attributes)
                for n, user in enumerate(request.users)
            ]
        read = services.users.read if request.personalization == "on" else None
        explainer, unexplained = request.explainer(served.bundle, len(asked))
        profiles, warnings = describe_all(served.bundle, asked, as_of_ms, read, explainer)
        return ApiResponse(
            {"profiles": profiles}, served.bundle, served.variant, served.degraded_reason, warnings + unexplained
        )

    def get(call: Call) -> ApiResponse:
        user_id = call.path_id("user_id")
        as_of_ms = moment_ms(call.query("as_of"), call.now_ms, "as_of")
        asked = Explained.of_query(call)
        state = services.users.read(user_id)
        if not state.known:
            raise NotFound("nothing is known of this user; POST /v1/profiles with events or features answers for anybody")
        served = services.model(NAME, user_id)
        explainer, unexplained = asked.explainer(served.bundle, 1)
        profile = describe(served.bundle, state.events, as_of_ms, state.evicted, explainer=explainer)[0]
        return ApiResponse(
            {"profiles": [profile | {"source": "state"}]}, served.bundle, served.variant, served.degraded_reason, unexplained
        )

    return [
        Route("POST", "/v1/profiles", post),
        Route("GET", "/v1/profiles/{user_id}", get),
        *segment_routes(services),
        *table_routes(services, NAME),
    ]
