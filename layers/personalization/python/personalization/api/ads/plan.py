"""Ad plans: when, where and with which creative to send an ad, for one user or for the users of a segment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from personalization.ads.candidates import Candidates
from personalization.ads.features import AdFeatures, feature_columns
from personalization.ads.plan import PlanGrid, best_cells, evaluate_grid
from personalization.api.ads.responses import ranking_basis
from personalization.api.ads.schemas import AdUser, PlanRequest
from personalization.api.ads.score import ScoredAds
from personalization.api.ads.stores import AdStores
from personalization.api.ads.user_context import load_user_context
from personalization.api.json_rows import canonical_columns
from personalization.api.requests import timestamp_ms
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.errors import NotFound, TooLarge
from personalization.core.time import HOUR_MS

MAX_CELLS: Final = 5_000
MAX_ROWS: Final = 50_000  # cells × users


def plan(request: PlanRequest, bundle: Bundle, now_ms: int, stores: AdStores) -> ScoredAds:
    """The best cells of hours × channels × creatives, each with its evidence.

    Features of the users are those of now; hour, weekday, channel and creative change over the grid. Raises `InvalidInput`,
    `TooLarge` for too many cells or users, `NotFound` for an ad that the catalog does not have.
    """
    zone = bundle.encoder.zone
    ad = _ad_of(request, stores)
    first = -(-timestamp_ms(request.starts_at, now_ms, "/starts_at") // HOUR_MS) * HOUR_MS
    grid = PlanGrid(
        [first + n * HOUR_MS for n in range(0, request.hours, request.step)],
        request.channels or [cells.word(ad.get("channel"))],
        request.creatives or [cells.word(ad.get("creative"))],
        zone,
    )
    users = _users_of(request)
    if len(grid) > MAX_CELLS or len(grid) * len(users) > MAX_ROWS:
        limits = f"{MAX_CELLS} cells, and {MAX_ROWS} cells times users"
        raise TooLarge(f"expected at most {limits}; received {len(grid)} cells and {len(users)} users")
    contexts = [load_user_context(user, bundle, [str(ad["ad_id"])], now_ms, stores) for user in users]
    candidate = Candidates.from_rows([ad], zone)
    table = {name: [cell] for name, cell in ad.items()}
    features, row = AdFeatures.from_table(table, 1, bundle.manifest.get("lists"), zone), np.zeros(1, np.int64)
    user_columns = [feature_columns(user.context, features, row, row, user.exposure, zone) for user in contexts]
    values = evaluate_grid(bundle, grid, candidate, user_columns, request.objective)
    content = {
        "ad_id": ad["ad_id"],
        "objective": request.objective,
        **({"basis": ranking_basis("own", bundle)} if request.objective == "own" else {}),
        "users": len(users),
        "cells": len(grid),
        "mean_expected_value": round(float(values.mean.mean()), 6),
        "best": best_cells(grid, values, request.k, bundle.manifest.get("support")),
    }
    return ScoredAds(content, next((user.degraded_reason for user in contexts if user.degraded_reason), ""))


def _ad_of(request: PlanRequest, stores: AdStores) -> Mapping[str, Any]:
    if request.ad is not None:
        row = {name: content[0] for name, content in canonical_columns([request.ad]).items()}
        return {"ad_id": "ad", "campaign_id": "campaign"} | row
    catalog = stores.catalog.get() if stores.catalog else None
    for ad in catalog.ads if catalog else ():
        if cells.word(ad.get("ad_id")) == request.ad_id:
            return ad
    raise NotFound("expected the id of an ad in the catalog, received an unknown one")


def _users_of(request: PlanRequest) -> list[AdUser]:
    if request.users is None:
        return [request]
    return [AdUser(user_id=user_id, personalization=request.personalization) for user_id in request.users]
