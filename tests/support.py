"""Small things that many tests need."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from personalization.core.categorical import Vocabulary
from personalization.core.events import Events
from personalization.core.schema import EVENT_CODE

DAY_MS = 86_400_000
NAN = float("nan")


class Clock:
    """A clock that stands still until it is told to go on; unix seconds."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += seconds


def proxy_event(
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    resource: str = "",
    base64: bool = False,
) -> dict[str, Any]:
    """API Gateway's REST proxy event; `path` is percent-encoded, a body that is no text is sent as JSON."""
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    sent = {"Host": "shop.execute-api.eu-central-1.amazonaws.com"}
    if text is not None:
        sent["Content-Type"] = "application/json"
    sent |= headers or {}
    return {
        "resource": resource or path,
        "path": path,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": dict(query) if query else None,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"httpMethod": method, "path": f"/live{path}", "requestId": "gateway-request", "stage": "live"},
        "body": b64encode(text.encode()).decode() if base64 and text is not None else text,
        "isBase64Encoded": base64,
    }


def events_of(rows: Sequence[Mapping[str, Any]]) -> Events:
    """Events of rows with canonical columns; `timestamp` in milliseconds, other columns may be left out."""
    users, items, categories, channels, orders = (Vocabulary() for _ in range(5))

    def numbers(name: str) -> np.ndarray[Any, Any]:
        return np.array([row.get(name, NAN) for row in rows], dtype=np.float64)

    return Events(
        user=users.codes([row.get("user_id", "u") for row in rows]),
        item=items.codes([row.get("item_id") for row in rows]),
        event_type=np.array([EVENT_CODE[row.get("event_type", "view_item")] for row in rows], dtype=np.int8),
        timestamp=np.array([row["timestamp"] for row in rows], dtype=np.int64),
        received_at=np.array([row.get("received_at", row["timestamp"]) for row in rows], dtype=np.int64),
        quantity=numbers("quantity"),
        unit_price=numbers("unit_price"),
        event_value=numbers("event_value"),
        view_duration=numbers("view_duration"),
        rating=numbers("rating"),
        category=categories.codes([row.get("category") for row in rows]),
        channel=channels.codes([row.get("channel") for row in rows]),
        order=orders.codes([row.get("order_id") for row in rows]),
        users=users.words,
        items=items.words,
        categories=categories.words,
        channels=channels.words,
    )
