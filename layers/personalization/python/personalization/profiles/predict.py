"""Profiles of users: descriptive features, a model's predictions and segments, as JSON objects of responses.

Pure functions over a loaded bundle. Without a bundle a profile has its descriptive part only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization import features
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.encoder import Encoded, TableColumns
from personalization.core.errors import Fault, InvalidInput, RowFault
from personalization.core.events import Events
from personalization.core.time import format_timestamp
from personalization.features import CategoryShares, HistoryWindow, Lifetime
from personalization.profiles.behaviour import SegmentThresholds, SegmentTraits, assign_segment
from personalization.profiles.rfm import RfmQuintiles, rfm_segment
from personalization.tabular.explain import Explainer

TOP_CATEGORIES: Final = 3
ATTRIBUTE_PREFIX: Final = "user."  # a column of the users table, among the features

_ACTIVITY: Final = ("events", "active_days", "views", "carts", "view_duration", "rating_mean")
_FREQUENCY: Final = ("orders", "orders_28d", "orders_91d", "order_gap_days")
_VALUE: Final = ("monetary", "average_order_value", "monetary_91d", "lifetime_monetary")
_RECENCY: Final = ("recency_days", "recency_purchase_days", "tenure_days")


def history_window(bundle: Bundle | None) -> HistoryWindow:
    """The history window of a bundle; the default one without a bundle."""
    stated = bundle.manifest.get("history_window") if bundle else None
    return HistoryWindow(stated["max_events"], stated["max_days"]) if stated else HistoryWindow()


def predict_profiles(
    bundle: Bundle | None,
    events: Events,
    as_of_ms: int,
    evicted: Lifetime | None = None,
    attributes: TableColumns | None = None,
    explainer: Explainer | None = None,
) -> list[dict[str, Any]]:
    """One profile for each user of `events.users`, in that order, by what was known at `as_of_ms`.

    events       of U users; later events are ignored
    as_of_ms     milliseconds since 1970 UTC
    evicted      sums over older events that are no longer in state, (U,) each
    attributes   columns of the users table by their names there, (U,) each
    explainer    adds an explanation of the probability to each profile
    """
    events = events.with_categories(bundle.category_of_item) if bundle else events
    window = history_window(bundle)
    zone = bundle.encoder.zone if bundle else UTC
    columns: dict[str, Any] = dict(features.compute(events, as_of_ms, window, zone, evicted))
    columns |= {ATTRIBUTE_PREFIX + name: content for name, content in (attributes or {}).items()}
    recent = features.truncate_to_window(features.events_known_at(events, as_of_ms), as_of_ms, window)
    preferred = _preferred(features.category_shares(recent), events.categories)
    return _profiles(bundle, columns, events.users, as_of_ms, preferred, explainer=explainer)


def predict_from_features(
    bundle: Bundle | None,
    columns: TableColumns,
    rows: int,
    as_of_ms: int,
    user_ids: Sequence[str | None] | None = None,
    explainer: Explainer | None = None,
) -> list[dict[str, Any]]:
    """Profiles from features that the caller computed, one for each row.

    columns    `features.FEATURES`, `features.TEXT_FEATURES` and the bundle's attributes by name, `rows` cells each
    user_ids   of the rows, for the profiles

    Raises `InvalidInput` with a pointer ``/users/<row>/features/<column>`` for each cell of another kind than its column.
    """
    ready: dict[str, Any] = dict(columns)
    faults: list[Fault] = []
    for name in features.FEATURES:
        if name in ready:
            ready[name], bad = _numbers(ready[name], name)
            faults += bad
    encoded = bundle.encoder.encode(ready, rows) if bundle else None
    faults += [_fault(cell) for cell in encoded.bad_cells] if encoded else []
    if faults:
        raise InvalidInput(f"{len(faults)} features do not match the type of their column", faults)
    shares = ready.get("preferred_category_share", np.full(rows, np.nan))
    preferred = [
        [{"category": word, "share": _number(share)}] if word else []
        for word, share in zip(ready.get("preferred_category", [None] * rows), shares, strict=True)
    ]
    return _profiles(bundle, ready, user_ids or [None] * rows, as_of_ms, preferred, encoded, explainer)


def _profiles(
    bundle: Bundle | None,
    columns: TableColumns,
    user_ids: Sequence[str | None],
    as_of_ms: int,
    preferred: Sequence[list[dict[str, Any]]],
    encoded: Encoded | None = None,
    explainer: Explainer | None = None,
) -> list[dict[str, Any]]:
    rows = len(user_ids)
    if not rows:
        return []
    as_of = format_timestamp(as_of_ms)
    encoded = encoded or (bundle.encoder.encode(columns, rows) if bundle else None)
    forecast = _forecasts(bundle, bundle.run(encoded.inputs)) if bundle and encoded else [{}] * rows
    groups = {
        name: _group(columns, members, rows)
        for name, members in (
            ("activity", _ACTIVITY), ("frequency", _FREQUENCY), ("value", _VALUE), ("recency", _RECENCY)
        )
    }  # fmt: skip
    quintiles = RfmQuintiles.from_manifest(bundle.manifest) if bundle else None
    rfm = [columns.get(name, np.full(rows, np.nan)) for name in ("recency_purchase_days", "orders", "monetary")]
    thresholds = SegmentThresholds.from_manifest(bundle.manifest) if bundle else None
    profiles = []
    for row, user_id in enumerate(user_ids):
        profile: dict[str, Any] = {} if user_id is None else {"user_id": user_id}
        profile |= {"as_of": as_of} | forecast[row]
        profile |= {name: members[row] for name, members in groups.items()}
        profile["preferred_categories"] = preferred[row]
        profile["segment"] = (
            rfm_segment(float(rfm[0][row]), float(rfm[1][row]), float(rfm[2][row]), quintiles) if quintiles else None
        )
        profile["behaviour"] = _behaviour(profile, columns, row, thresholds) if thresholds else None
        if explainer and encoded:
            profile["explanation"] = explainer.explain(encoded.inputs, row, columns)
        profiles.append(profile)
    return profiles


def _behaviour(profile: Mapping[str, Any], columns: TableColumns, row: int, thresholds: SegmentThresholds) -> dict[str, str]:
    def feature(name: str) -> float:
        return float(columns[name][row]) if name in columns else math.nan

    traits = SegmentTraits(
        profile["probability"],
        profile["churn_risk"],
        feature("orders"),
        feature("monetary"),
        feature("tenure_days"),
        feature("recency_purchase_days"),
    )
    matched = assign_segment(traits, thresholds)
    return {"name": matched.name, "action": matched.action}


def _forecasts(bundle: Bundle, outputs: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Predicted purchases, churn and spend from the graph's outputs, one dictionary for each row."""
    manifest = bundle.manifest
    days = [int(day) for day in manifest["hazard_days"]]
    within = outputs["probability_within"].astype(float).round(7).tolist()
    horizon, churn = days.index(int(manifest["horizon"])), days.index(int(manifest["churn_horizon"]))
    amounts = {
        name: outputs[name].astype(float).round(4).tolist() for name in ("expected_orders", "expected_spend") if name in outputs
    }
    names = manifest.get("next_category_names") or []
    category = outputs.get("next_category") if names else None
    ranked = np.argsort(-category, axis=1, kind="stable")[:, :TOP_CATEGORIES] if category is not None else None
    forecasts = []
    for row, probability in enumerate(within):
        forecast: dict[str, Any] = {
            "probability": probability[horizon],
            "horizon_days": days[horizon],
            "propensity": {str(day): p for day, p in zip(days, probability, strict=True)},
            "churn_risk": round(1.0 - probability[churn], 7),
            "churn_horizon_days": days[churn],
        }
        forecast |= {name: values[row] for name, values in amounts.items()}
        if category is not None and ranked is not None:
            forecast["next_categories"] = [
                {"category": names[i], "probability": round(float(category[row, i]), 6)} for i in ranked[row]
            ]
        forecasts.append(forecast)
    return forecasts


def _group(columns: TableColumns, names: Sequence[str], rows: int) -> list[dict[str, float | None]]:
    """One dictionary for each row, of the named features that `columns` has."""
    known = [name for name in names if name in columns]
    lists = [[_number(value) for value in columns[name]] for name in known]
    return [dict(zip(known, values, strict=True)) for values in zip(*lists, strict=True)] if known else [{}] * rows


def _preferred(shares: CategoryShares, categories: Sequence[str]) -> list[list[dict[str, Any]]]:
    bounds = shares.offsets.tolist()
    return [
        [
            {"category": categories[shares.code[row]], "share": round(float(shares.share[row]), 6)}
            for row in range(start, min(end, start + TOP_CATEGORIES))
        ]
        for start, end in pairwise(bounds)
    ]


def _number(value: float) -> float | None:
    """A number of a response: `None` for NaN and infinity, else rounded to six digits."""
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None


def _numbers(content: Any, name: str) -> tuple[NDArray[np.float64], list[Fault]]:
    values, bad = cells.numbers(content)
    return values, [Fault(f"/users/{row}/features/{name}", f"expected a number, received {content[row]!r:.60}") for row in bad]


def _fault(cell: RowFault) -> Fault:
    return Fault(f"/users/{cell.row}/features/{cell.column}", cell.reason)
