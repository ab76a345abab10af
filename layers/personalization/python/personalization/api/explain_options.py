"""``explain: true`` of profiles and flat tables: the contribution of each column to a probability."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from personalization.api.problems import invalid_request
from personalization.api.requests import ApiRequest, RequestBody
from personalization.bundles.bundle import Bundle
from personalization.core.errors import Fault, InvalidInput
from personalization.core.schema import MAX_EXPLAINED_PER_CALL
from personalization.tabular.explain import Explainer


class ExplainOptions(RequestBody):
    """Fields of a request whose probabilities can be explained."""

    explain: Annotated[bool, Field(description=f"add explanations; at most {MAX_EXPLAINED_PER_CALL} in one request")] = False
    explain_budget_ms: Annotated[
        int,
        Field(
            ge=1, le=10_000,
            description="for all explanations of the request in equal parts; the first sampling round always runs",
        ),
    ] = 250  # fmt: skip

    @classmethod
    def from_query(cls, request: ApiRequest) -> ExplainOptions:
        """The same fields as query parameters: ``?explain=true``. Raises `InvalidInput`."""
        values = {name: value for name in ExplainOptions.model_fields if (value := request.query(name)) is not None}
        try:
            return ExplainOptions.model_validate(values)
        except ValidationError as error:
            raise invalid_request(error) from None

    def explainer(self, bundle: Bundle | None, count: int, pointer: str) -> tuple[Explainer | None, list[str]]:
        """The explainer for `count` probabilities, `None` where nothing is to be or can be explained; and warnings.

        Raises `InvalidInput` at `pointer` for more explanations than a request may have.
        """
        if not self.explain:
            return None, []
        if count > MAX_EXPLAINED_PER_CALL:
            detail = f"expected at most {MAX_EXPLAINED_PER_CALL} with explain, received {count}"
            raise InvalidInput("explain is limited to a few entries in one request", [Fault(pointer, detail)])
        if bundle is None:
            return None, []
        explainer = Explainer.for_bundle(bundle, budget_seconds=self.explain_budget_ms / 1e3 / max(count, 1))
        if explainer is None:
            return None, ["explain: the model has no background rows to explain against; train it again"]
        return explainer, []
