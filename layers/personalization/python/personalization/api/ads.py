"""``POST /v1/ads/score``: how likely a user clicks each of some ads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from personalization import ads, cells
from personalization.api.answers import Answer
from personalization.api.application import Route
from personalization.api.calls import Body, Call
from personalization.api.problems import pointer
from personalization.api.rows import Columns, as_sent, canonical_columns
from personalization.api.services import Services
from personalization.api.tables import table_routes
from personalization.errors import BundleInvalid, Fault, InvalidInput
from personalization.schema import AD_ID, MAX_CANDIDATES_PER_CALL, MAX_ID_LENGTH, TIMESTAMP, USER_ID

NAME = "ads"


class ScoreRequest(Body):
    """Ads with the columns of the ads and impressions tables; `ad_id` is required."""

    user_id: Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)] | None = None
    candidates: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_CANDIDATES_PER_CALL)]


def routes(services: Services) -> list[Route]:
    def score(call: Call) -> Answer:
        request = call.body(ScoreRequest)
        columns = canonical_columns(request.candidates)
        ad_ids = _ad_ids(columns, len(request.candidates))
        served = services.model(NAME, request.user_id)
        if served.bundle is None:
            return Answer({"decision_id": call.request_id, "scores": []}, because=served.because)
        scored = ads.score(served.bundle, _candidates(columns, {USER_ID: request.user_id, TIMESTAMP: call.now_ms}))
        if scored.bad_cells:
            faults = [
                Fault(pointer("candidates", cell.row, as_sent(request.candidates[cell.row], cell.column)), cell.detail)
                for cell in scored.bad_cells
            ]
            raise InvalidInput("some cells are not what their columns hold", faults)
        if not np.isfinite(scored.probability).all():
            raise BundleInvalid("the graph answered a probability that is no number")
        probabilities = scored.probability.round(7).tolist()
        scores = [{"ad_id": ad_id, "probability": p} for ad_id, p in zip(ad_ids, probabilities, strict=True)]
        return Answer({"decision_id": call.request_id, "scores": scores}, served.bundle, served.variant, served.because)

    return [Route("POST", "/v1/ads/score", score), *table_routes(services, NAME)]


def _candidates(columns: Columns, context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping an ad; what it does not state of the context is added."""
    names = list(columns)
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return [row | {name: value for name, value in context.items() if row.get(name) is None} for row in rows]


def _ad_ids(columns: Columns, rows: int) -> list[str]:
    ad_ids = cells.words(columns.get(AD_ID, [None] * rows))
    faults = [
        Fault(pointer("candidates", row, AD_ID), f"expected an id of at most {MAX_ID_LENGTH} characters")
        for row, ad_id in enumerate(ad_ids)
        if not ad_id or len(ad_id) > MAX_ID_LENGTH
    ]
    if faults:
        raise InvalidInput("every candidate needs its ad_id", faults)
    return [ad_id for ad_id in ad_ids if ad_id]
