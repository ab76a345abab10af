"""``POST /v1/tables/<name>``: a probability for each row of a flat feature table."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from personalization.api.app import Route
from personalization.api.explain_options import ExplainOptions
from personalization.api.json_rows import TableCells, canonical, columns_of
from personalization.api.problems import pointer
from personalization.api.requests import ApiRequest
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.bundles.bundle import Bundle
from personalization.core.errors import BundleInvalid, Fault, InvalidInput
from personalization.core.schema import MAX_ROWS_PER_CALL, TABLE_SUFFIX, USER_ID
from personalization.tabular import predict


class TableRequest(ExplainOptions):
    """Rows of the table that the model was trained with, by its own column names."""

    rows: Annotated[list[TableCells], Field(min_length=1, max_length=MAX_ROWS_PER_CALL)]


def table_route(services: Services, job: str) -> Route:
    """The route of a job's flat model."""
    name = job + TABLE_SUFFIX

    def score_table(request: ApiRequest) -> ApiResponse:
        body = request.parse_body(TableRequest)
        served = services.model(name)
        bundle, rows = served.required(), len(body.rows)
        explainer, warnings = body.explainer(bundle, rows, "/rows")
        columns = columns_of(body.rows)
        scored = predict.predict(bundle, columns, rows)
        if scored.bad_cells:
            faults = [Fault(pointer("rows", cell.row, cell.column), cell.reason) for cell in scored.bad_cells]
            raise InvalidInput("some cells do not match the type of their column", faults)
        if not np.isfinite(scored.probability).all():
            raise BundleInvalid("the model returned a probability that is not finite")
        probabilities = scored.probability.round(7).tolist()
        results: list[dict[str, Any]] = [{"row": row, "probability": p} for row, p in enumerate(probabilities)]
        if explainer:
            inputs = bundle.encoder.encode(columns, rows).inputs
            for result in results:
                result["explanation"] = explainer.explain(inputs, result["row"], columns)
        return ApiResponse({"results": results}, served, _column_warnings(bundle, set(columns)) + warnings)

    return Route("POST", f"/v1/tables/{name}", score_table)


def _column_warnings(bundle: Bundle, columns: set[str]) -> list[str]:
    expected = {column.name for column in bundle.encoder.columns}
    unknown = sorted(name for name in columns - expected if canonical(name) != USER_ID)
    missing = sorted(expected - columns)
    warnings = [f"ignored columns that the model does not use: {', '.join(unknown)}"] if unknown else []
    return warnings + ([f"columns of the model that no row has: {', '.join(missing)}"] if missing else [])
