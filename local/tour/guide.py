"""What the steps of the tour share: the stack, where things lie, and a way to ask."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.stack import Stack
from local.tour.data import Planted, Tables
from local.tour.show import Show
from personalization.core.time import DAY_MS, format_timestamp


class UnexpectedAnswer(Exception):
    """A call of the tour was answered with another status than it should have been."""


@dataclass
class Tour:
    """What the steps share.

    stack     not started yet in the first steps
    work      directory for the tour's own files
    bundles   directory for the bundles that it trains
    """

    show: Show
    stack: Stack
    work: Path
    bundles: Path
    fresh: bool
    tables: Tables | None = None
    planted: Planted | None = None

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Call the API, showing the call. Raises `UnexpectedAnswer` for any status but 2xx."""
        told = "" if body is None else f" --json '{json.dumps(body)}'"
        verb = f"-X {method} " if method == "DELETE" else ""
        self.show.call(f"curl {verb}{self.stack.url}{path}{told}")
        return self.quietly(method, path, body)

    def quietly(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """`ask` without showing the call."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the stack's own address
            self.stack.url + path, content, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                answer: dict[str, Any] = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise UnexpectedAnswer(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None
        return answer


def purchase(days_ago: float, item: str) -> dict[str, Any]:
    """An event of somebody who bought an item so many days ago."""
    timestamp = format_timestamp(round(time.time() * 1000 - days_ago * DAY_MS), "seconds")
    return {"item_id": item, "event_type": "purchase", "timestamp": timestamp, "event_value": 24.9, "quantity": 2}
