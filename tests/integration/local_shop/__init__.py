"""A small shop's stack that is not this project's: the local stack has to run any template."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TEMPLATE = Path(__file__).with_name("template.yaml")


def call(
    url: str, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One HTTP request as it is, without a library that would re-encode the path."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    try:
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def told(answer: tuple[int, http.client.HTTPMessage, bytes]) -> dict[str, Any]:
    """What the echo function was told."""
    assert answer[0] == 201, answer
    content: dict[str, Any] = json.loads(answer[2])
    return content
