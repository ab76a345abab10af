"""``PUT /v1/items``: new items, new attributes, removed items. They take effect within a minute, without a new model."""

from __future__ import annotations

from datetime import UTC
from typing import Self

from pydantic import Field, model_validator

from personalization.api.app import Route
from personalization.api.json_rows import ItemCells, canonical_columns, cell_pointer
from personalization.api.requests import ApiRequest, Id, RequestBody
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.catalog import CatalogPart, CatalogWriter, empty_catalog, parse_items
from personalization.core.errors import Fault, InvalidInput
from personalization.core.schema import MAX_ITEMS_PER_CALL


class ItemsRequest(RequestBody):
    """Rows of the items table, and ids of items to remove.

    A column that a row lacks keeps its value; null removes it.
    """

    items: list[ItemCells] = Field(default_factory=list, max_length=MAX_ITEMS_PER_CALL, description="rows of the items table")
    remove: list[Id] = Field(default_factory=list, max_length=MAX_ITEMS_PER_CALL, description="ids of items to remove")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.items and not self.remove:
            raise ValueError("expected items, or ids to remove; received neither")
        return self


def items_routes(services: Services) -> list[Route]:
    writer = CatalogWriter(services.s3, services.settings.data_bucket, clock=services.clock)

    def put(call: ApiRequest) -> ApiResponse:
        request = call.parse_body(ItemsRequest)
        part = _part(request)
        version = writer.append(part)
        services.catalog.expire()
        return ApiResponse({"stored": len(part.ids), "removed": len(part.removed), "catalogue": {"version": version}})

    return [Route("PUT", "/v1/items", put)]


def _part(request: ItemsRequest) -> CatalogPart:
    """All of a request as one change. Rows with the same columns are parsed together: what a row lacks stays as it was."""
    by_columns: dict[frozenset[str], list[int]] = {}
    for row, cells in enumerate(request.items):
        by_columns.setdefault(frozenset(canonical_columns([cells])), []).append(row)
    faults: list[Fault] = []
    folded = empty_catalog()
    for rows in by_columns.values():
        some = [request.items[row] for row in rows]
        parsed = parse_items(canonical_columns(some), len(some), UTC)
        faults += [Fault(cell_pointer(("items", rows[f.row]), some[f.row], f.column), f.reason) for f in parsed.faults]
        folded = folded.with_part(parsed.part)
    if faults:
        raise InvalidInput("some items have values of the wrong type", sorted(faults, key=lambda fault: fault.pointer))
    return folded.with_part(CatalogPart([], {}, sorted(set(request.remove)))).as_part()
