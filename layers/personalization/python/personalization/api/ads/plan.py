"""When, where and with which creative: a plan for one user or for those who stand for a segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization.ads import Candidates, Valuation, valuate
from personalization.ads.exposure import Exposure
from personalization.ads.features import AD_PREFIX, Ads, RequestContext, describe
from personalization.ads.plan import Grid, PlanQuery, best_cells, evaluate
from personalization.ads.predict import UNTREATED, chances_of, tasks_of, told
from personalization.ads.terms import MAX_PLAN_CELLS, MAX_PLAN_ROWS
from personalization.api.ads.schemas import AdUser, PlanRequest
from personalization.api.ads.score import AdStores, ScoredAds
from personalization.api.ads.user_context import load_user_context
from personalization.api.json_rows import canonical_columns
from personalization.api.requests import timestamp_ms
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.errors import NotFound, TooLarge
from personalization.core.time import HOUR_MS, hour_of_day, local_time, weekday


def plan(request: PlanRequest, bundle: Bundle, now_ms: int, house: AdStores) -> ScoredAds:
    """The best cells of hours × channels × creatives, each with its evidence.

    Users are known as they are now; what changes over the grid is the hour, the place and the ad. Raises `InvalidInput`,
    `TooLarge`, `NotFound` for an ad that the catalogue does not have.
    """
    ad = _ad(request, house)
    first = -(-timestamp_ms(request.starts_at, now_ms, "/starts_at") // HOUR_MS) * HOUR_MS
    grid = Grid(
        [first + n * HOUR_MS for n in range(0, request.hours, request.step)],
        request.channels or [cells.word(ad.get("channel"))],
        request.creatives or [cells.word(ad.get("creative"))],
        bundle.encoder.zone,
    )
    people = _people(request)
    if len(grid) > MAX_PLAN_CELLS or len(grid) * len(people) > MAX_PLAN_ROWS:
        limits = f"{MAX_PLAN_CELLS} cells, and {MAX_PLAN_ROWS} of cells times users"
        raise TooLarge(f"expected at most {limits}; received {len(grid)} cells and {len(people)} users")
    known = [load_user_context(person, bundle, [str(ad["ad_id"])], now_ms, house.users, house.exposures) for person in people]
    degraded_reason = next((one.degraded_reason for one in known if one.degraded_reason), "")
    values = evaluate(grid, len(people), _Scoring(request, bundle, grid, ad, [(one.views, one.exposure) for one in known]))
    basis = "uplift" if UNTREATED in tasks_of(bundle) else "response"
    best = best_cells(grid, values, request.k, bundle.manifest.get("support"))
    content = {
        "ad_id": ad["ad_id"],
        "objective": request.objective,
        **({"basis": basis} if request.objective == "own" else {}),
        "users": len(people),
        "cells": len(grid),
        "mean_expected_value": round(float(values.mean.mean()), 6),
        "best": best,
    }
    return ScoredAds(content, degraded_reason)


def _ad(request: PlanRequest, house: AdStores) -> dict[str, Any]:
    if request.ad is not None:
        row = {name: content[0] for name, content in canonical_columns([request.ad]).items()}
        return {"ad_id": "ad", "campaign_id": "campaign"} | row
    catalogue = house.catalogue.get() if house.catalogue else None
    found = next((ad for ad in (catalogue.ads if catalogue else ()) if cells.word(ad.get("ad_id")) == request.ad_id), None)
    if found is None:
        raise NotFound("no ad of this id is in the catalogue")
    return dict(found)


def _people(request: PlanRequest) -> list[AdUser]:
    if request.users is None:
        return [request]
    return [AdUser(user_id=user_id, personalization=request.personalization) for user_id in request.users]


class _Scoring:
    """What the model expects of rows of a plan."""

    def __init__(
        self,
        request: PlanRequest,
        bundle: Bundle,
        grid: Grid,
        ad: Mapping[str, Any],
        known: list[tuple[RequestContext, Exposure]],
    ) -> None:
        self._bundle, self._grid = bundle, grid
        self._objective = request.objective
        self._candidates = Candidates.from_rows([ad], bundle.encoder.zone)
        table = {name: [cell] for name, cell in ad.items()}
        ads = Ads.from_table(table, 1, bundle.manifest.get("lists"), bundle.encoder.zone)
        one = np.zeros(1, np.int64)
        # What is told of a user and this ad is the same in all cells.
        self._columns = [describe(views, ads, one, one, exposure, bundle.encoder.zone) for views, exposure in known]
        self._names = list(dict.fromkeys(name for columns in self._columns for name in columns))

    def __call__(self, asked: PlanQuery) -> tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]:
        rows = len(asked.user)
        columns: dict[str, Any] = {
            name: [self._columns[user][name][0] if name in self._columns[user] else None for user in asked.user.tolist()]
            for name in self._names
        }
        moments = np.array(self._grid.moments, dtype=np.int64)[asked.hour]
        local = local_time(moments, self._bundle.encoder.zone)
        columns["hour"] = hour_of_day(local).astype(np.float64)
        columns["weekday"] = weekday(local).astype(np.float64)
        columns["channel"] = [self._grid.channels[n] for n in asked.channel.tolist()]
        columns[AD_PREFIX + "creative"] = [self._grid.creatives[n] for n in asked.creative.tolist()]
        chances, _ = chances_of(self._bundle, columns, rows)
        worth = self._worth(chances, rows)
        return np.nan_to_num(worth.expected(1.0)), told(chances)

    def _worth(self, chances: Any, rows: int) -> Valuation:
        candidates = repeated(self._candidates, rows)
        return valuate(self._objective, candidates, chances)


def repeated(candidates: Candidates, rows: int) -> Candidates:
    """One candidate, `rows` times."""
    arrays: dict[str, Any] = {
        name: np.repeat(value, rows) for name, value in vars(candidates).items() if isinstance(value, np.ndarray)
    }
    lists = {name: getattr(candidates, name) * rows for name in ("ad_id", "channel", "creative")}
    return replace(candidates, attributes={}, **lists, **arrays)
