"""``explain: true`` of profiles and flat tables: why is this probability what it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from personalization.api.problems import refusal
from personalization.api.requests import Body, Call
from personalization.bundles.bundle import Bundle
from personalization.core.errors import Fault, InvalidInput
from personalization.core.schema import MAX_EXPLAINED_PER_CALL
from personalization.tabular.explanation import Explainer


class Explained(Body):
    """Fields of a request whose answers can be explained.

    explain_budget_ms   for all that is explained in the call, in equal parts; each gets a first round, however small its part
    """

    explain: bool = False
    explain_budget_ms: Annotated[int, Field(ge=1, le=10_000)] = 250

    @classmethod
    def of_query(cls, call: Call) -> Explained:
        """The same fields in a query string: ``?explain=true``. Raises `InvalidInput`."""
        given = {name: value for name in Explained.model_fields if (value := call.query(name)) is not None}
        try:
            return Explained.model_validate(given)
        except ValidationError as error:
            raise refusal(error) from None

    def check_explained(self, pointer: str, count: int) -> None:
        """Raises `InvalidInput` where more are to be explained than a call may ask for."""
        if self.explain and count > MAX_EXPLAINED_PER_CALL:
            detail = f"expected at most {MAX_EXPLAINED_PER_CALL} with explain, received {count}"
            raise InvalidInput("too many to explain in one call", [Fault(pointer, detail)])

    def explainer(self, bundle: Bundle | None, count: int) -> tuple[Explainer | None, list[str]]:
        """For `count` answers, and what is to be said where there can be none."""
        if not self.explain or bundle is None:  # without a model nothing is predicted, and the answer says why
            return None, []
        found = Explainer.of(bundle, budget_seconds=self.explain_budget_ms / 1e3 / max(count, 1))
        if found is None:
            return None, ["explain: this model was trained without the rows that answers are explained against; train it again"]
        return found, []
