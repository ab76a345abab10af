"""Request bodies of ``POST /v1/profiles``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from personalization.api.explain_options import ExplainOptions
from personalization.api.json_rows import InteractionCells
from personalization.api.requests import Id, RequestBody, Timestamp
from personalization.core.schema import MAX_EVENTS_PER_CALL, MAX_USERS_PER_CALL


class User(RequestBody):
    """One user, described by events or by ready features; without both, from state."""

    user_id: Id | None = None
    events: Annotated[list[InteractionCells], Field(max_length=MAX_EVENTS_PER_CALL)] | None = None
    features: Annotated[dict[str, Any] | None, Field(description="ready features by name")] = None
    attributes: Annotated[dict[str, Any] | None, Field(description="columns of the users table")] = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.events is not None and self.features is not None:
            raise ValueError("expected events or features, received both")
        return self


class ProfilesRequest(ExplainOptions, User):
    """A list of users, or one user's fields at the top."""

    users: Annotated[list[User], Field(min_length=1, max_length=MAX_USERS_PER_CALL)] | None = None
    as_of: Annotated[Timestamp | None, Field(description="later events are ignored; now where it is missing")] = None
    personalization: Annotated[Literal["on", "off"], Field(description="off: state is not read")] = "on"

    @model_validator(mode="after")
    def _list_or_one(self) -> Self:
        if self.users is not None and self.model_fields_set & User.model_fields.keys():
            raise ValueError("expected users, or one user's fields at the top; received both")
        return self

    def placed_users(self) -> list[PlacedUser]:
        """The users and their places in the body."""
        if self.users is None:
            return [PlacedUser((), self)]
        return [PlacedUser(("users", n), user) for n, user in enumerate(self.users)]


class PlacedUser(NamedTuple):
    """A user, and the parts of the JSON pointer to it."""

    place: tuple[str | int, ...]
    user: User
