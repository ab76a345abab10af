"""Who is this customer, and what will they do: features and a model's outputs, told as a profile.

Pure functions over a loaded bundle. Without a bundle the descriptive half is still answered.
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
from personalization.profiles.behaviour import Thresholds, Traits, behaviour
from personalization.profiles.rfm import Quintiles, segment
from personalization.tabular.explanation import Explainer
from personalization.tabular.predict import ROWS_PER_RUN

TOP_CATEGORIES: Final = 3
ATTRIBUTE_PREFIX: Final = "user."  # a column of the users table, among the features

_ACTIVITY: Final = ("events", "active_days", "views", "carts", "view_duration", "rating_mean")
_FREQUENCY: Final = ("orders", "orders_28d", "orders_91d", "order_gap_days")
_VALUE: Final = ("monetary", "average_order_value", "monetary_91d", "lifetime_monetary")
_RECENCY: Final = ("recency_days", "recency_purchase_days", "tenure_days")


def window_of(bundle: Bundle | None) -> HistoryWindow:
    """The history window that the bundle was trained with; the default one without a bundle."""
    stated = bundle.manifest.get("history_window") if bundle else None
    return HistoryWindow(stated["max_events"], stated["max_days"]) if stated else HistoryWindow()


def describe(
    bundle: Bundle | None,
    events: Events,
    as_of_ms: int,
    evicted: Lifetime | None = None,
    attributes: TableColumns | None = None,
    explainer: Explainer | None = None,
) -> list[dict[str, Any]]:
    """One profile for each user of `events.users`, in that order, as things were known at `as_of_ms`.

    events       events of U users; later ones are not looked at
    evicted      sums over older events that state no longer holds, (U,) each
    attributes   columns of the users table, (U,) each, by their names there
    explainer    where each profile is to say why its probability is what it is
    """
    events = events.with_categories(bundle.category_of_item) if bundle else events
    window = window_of(bundle)
    zone = bundle.encoder.zone if bundle else UTC
    columns: dict[str, Any] = dict(features.compute(events, as_of_ms, window, zone, evicted))
    columns |= {ATTRIBUTE_PREFIX + name: content for name, content in (attributes or {}).items()}
    recent = features.truncate_to_window(features.events_known_at(events, as_of_ms), as_of_ms, window)
    liked = _liked(features.category_shares(recent), events.categories)
    return _profiles(bundle, columns, events.users, as_of_ms, liked, explainer=explainer)


def describe_features(
    bundle: Bundle | None,
    columns: TableColumns,
    rows: int,
    as_of_ms: int,
    user_ids: Sequence[str | None] | None = None,
    explainer: Explainer | None = None,
) -> list[dict[str, Any]]:
    """Profiles from ready features (`features.FEATURES` and the bundle's attributes), `rows` of each column.

    Raises `InvalidInput` with a pointer ``/users/<row>/features/<column>`` for each cell that is not what its column holds.
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
        raise InvalidInput(f"{len(faults)} of the features are not what they should be", faults)
    shares = ready.get("preferred_category_share", np.full(rows, np.nan))
    liked = [
        [{"category": word, "share": _number(share)}] if word else []
        for word, share in zip(ready.get("preferred_category", [None] * rows), shares, strict=True)
    ]
    return _profiles(bundle, ready, user_ids or [None] * rows, as_of_ms, liked, encoded, explainer)


def predictions(bundle: Bundle, columns: TableColumns, rows: int, encoded: Encoded | None = None) -> dict[str, NDArray[Any]]:
    """The graph's outputs for feature columns, by name, each (rows, …).

    encoded   the same columns as tensors, where they were encoded before
    """
    inputs = (encoded or bundle.encoder.encode(columns, rows)).inputs
    parts = [
        bundle.run({name: values[start : start + ROWS_PER_RUN] for name, values in inputs.items()})
        for start in range(0, max(rows, 1), ROWS_PER_RUN)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _profiles(
    bundle: Bundle | None,
    columns: TableColumns,
    user_ids: Sequence[str | None],
    as_of_ms: int,
    liked: Sequence[list[dict[str, Any]]],
    encoded: Encoded | None = None,
    explainer: Explainer | None = None,
) -> list[dict[str, Any]]:
    rows = len(user_ids)
    if not rows:
        return []
    as_of = format_timestamp(as_of_ms)
    encoded = encoded or (bundle.encoder.encode(columns, rows) if bundle else None)
    forecast = _forecasts(bundle, predictions(bundle, columns, rows, encoded)) if bundle else [{}] * rows
    groups = {
        name: _group(columns, members, rows)
        for name, members in (
            ("activity", _ACTIVITY), ("frequency", _FREQUENCY), ("value", _VALUE), ("recency", _RECENCY)
        )
    }  # fmt: skip
    quintiles = Quintiles.from_manifest(bundle.manifest) if bundle else None
    rfm = [columns.get(name, np.full(rows, np.nan)) for name in ("recency_purchase_days", "orders", "monetary")]
    thresholds = Thresholds.from_manifest(bundle.manifest) if bundle else None
    profiles = []
    for row, user_id in enumerate(user_ids):
        profile: dict[str, Any] = {} if user_id is None else {"user_id": user_id}
        profile |= {"as_of": as_of} | forecast[row]
        profile |= {name: members[row] for name, members in groups.items()}
        profile["preferred_categories"] = liked[row]
        profile["segment"] = (
            segment(float(rfm[0][row]), float(rfm[1][row]), float(rfm[2][row]), quintiles) if quintiles else None
        )
        profile["behaviour"] = _behaviour(profile, columns, row, thresholds) if thresholds else None
        if explainer and encoded:
            profile["explanation"] = explainer.told(encoded.inputs, row, columns)
        profiles.append(profile)
    return profiles


def _behaviour(profile: Mapping[str, Any], columns: TableColumns, row: int, thresholds: Thresholds) -> dict[str, str]:
    def known(name: str) -> float:
        return float(columns[name][row]) if name in columns else math.nan

    traits = Traits(
        profile["probability"],
        profile["churn_risk"],
        known("orders"),
        known("monetary"),
        known("tenure_days"),
        known("recency_purchase_days"),
    )
    found = behaviour(traits, thresholds)
    return {"name": found.name, "action": found.action}


def _forecasts(bundle: Bundle, outputs: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """What the user will do, one dictionary a row."""
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
    """One dictionary a row of the named features that there are."""
    known = [name for name in names if name in columns]
    lists = [[_number(value) for value in columns[name]] for name in known]
    return [dict(zip(known, values, strict=True)) for values in zip(*lists, strict=True)] if known else [{}] * rows


def _liked(shares: CategoryShares, categories: Sequence[str]) -> list[list[dict[str, Any]]]:
    bounds = shares.offsets.tolist()
    return [
        [
            {"category": categories[shares.code[row]], "share": round(float(shares.share[row]), 6)}
            for row in range(start, min(end, start + TOP_CATEGORIES))
        ]
        for start, end in pairwise(bounds)
    ]


def _number(value: float) -> float | None:
    """As it leaves the house: no NaN, no infinity, no noise behind the sixth digit."""
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None


def _numbers(content: Any, name: str) -> tuple[NDArray[np.float64], list[Fault]]:
    values, bad = cells.numbers(content)
    return values, [Fault(f"/users/{row}/features/{name}", f"expected a number, received {content[row]!r:.60}") for row in bad]


def _fault(cell: RowFault) -> Fault:
    return Fault(f"/users/{cell.row}/features/{cell.column}", cell.reason)
