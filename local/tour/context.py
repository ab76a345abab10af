"""The state that the steps of the tour share, and calls of the API."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.stack import Stack
from local.tour.data import SpoiltFile, Tables
from local.tour.terminal import Terminal
from personalization.core.time import DAY_MS, format_timestamp


class UnexpectedResponse(Exception):
    """A response had an unexpected status or content."""


@dataclass
class Tour:
    """State of the tour.

    stack     started by a later step
    work      directory for the tour's own files
    bundles   directory for the trained bundles
    fresh     train again where a current bundle exists
    tables    the shop's data, once it is written
    dropped   the file for the inbox, once it is written
    """

    terminal: Terminal
    stack: Stack
    work: Path
    bundles: Path
    fresh: bool
    tables: Tables | None = None
    dropped: SpoiltFile | None = None

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Print and make a call; returns the response's JSON. Raises `UnexpectedResponse` for any status but 2xx."""
        data = "" if body is None else f" --json '{json.dumps(body)}'"
        verb = f"-X {method} " if method == "DELETE" else ""
        self.terminal.command(f"curl {verb}{self.stack.url}{path}{data}")
        return self.request(method, path, body)

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """`call` without printing."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the stack's own address
            self.stack.url + path, content, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                content_of_response: dict[str, Any] = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise UnexpectedResponse(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None
        return content_of_response


def purchase(days_ago: float, item: str) -> dict[str, Any]:
    """A purchase event `days_ago` days before now."""
    timestamp = format_timestamp(round(time.time() * 1000 - days_ago * DAY_MS), "seconds")
    return {"item_id": item, "event_type": "purchase", "timestamp": timestamp, "event_value": 24.9, "quantity": 2}
