"""``POST /v1/tables/<name>``: rows of a flat feature table → one probability each."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from personalization.api.app import Route
from personalization.api.explain_options import Explained
from personalization.api.json_rows import canonical, columns_of
from personalization.api.problems import pointer
from personalization.api.requests import Call
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.bundles.bundle import Bundle
from personalization.core.errors import BundleInvalid, Fault, InvalidInput
from personalization.core.schema import MAX_ROWS_PER_CALL, TABLE_SUFFIX, USER_ID
from personalization.tabular import predict


class TableRequest(Explained):
    """Rows of the table that the model was trained with, by its own column names."""

    rows: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_ROWS_PER_CALL)]


def table_routes(services: Services, job: str) -> list[Route]:
    """The route of a job's flat model."""
    name = job + TABLE_SUFFIX

    def answer(call: Call) -> ApiResponse:
        request = call.body(TableRequest)
        rows = request.rows
        request.check_explained("/rows", len(rows))
        served = services.model(name)
        bundle = served.required()
        columns = columns_of(rows)
        scored = predict.score(bundle, columns, len(rows))
        if scored.bad_cells:
            faults = [Fault(pointer("rows", cell.row, cell.column), cell.reason) for cell in scored.bad_cells]
            raise InvalidInput("some cells are not what their columns hold", faults)
        if not np.isfinite(scored.probability).all():
            raise BundleInvalid("the graph answered a probability that is no number")
        results: list[dict[str, Any]] = [
            {"row": row, "probability": p} for row, p in enumerate(scored.probability.round(7).tolist())
        ]
        explainer, unexplained = request.explainer(bundle, len(rows))
        if explainer:
            inputs = bundle.encoder.encode(columns, len(rows)).inputs
            for result in results:
                result["explanation"] = explainer.told(inputs, result["row"], columns)
        warnings = _warnings(bundle, set(columns)) + unexplained
        return ApiResponse({"results": results}, bundle, served.variant, served.degraded_reason, warnings)

    return [Route("POST", f"/v1/tables/{name}", answer)]


def _warnings(bundle: Bundle, columns: set[str]) -> list[str]:
    expected = {column.name for column in bundle.encoder.columns}
    unknown = sorted(name for name in columns - expected if canonical(name) != USER_ID)
    missing = sorted(expected - columns)
    return [
        f"{what}: {', '.join(names)}"
        for what, names in (("columns that the model does not know", unknown), ("columns that no row has", missing))
        if names
    ]
