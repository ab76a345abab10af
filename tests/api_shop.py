"""The four functions' handlers over AWS services in this process, with a fixed clock."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from deploy.api_operations import OPERATIONS
from personalization.api import Handler, Services
from personalization.api.response_models import Problem
from personalization.bundles import ModelStore, promote, publish
from personalization.core.observability import Monitor
from personalization.core.settings import Settings
from personalization.state import StateStore
from tests.support import Clock, proxy_event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
MODELS = os.environ["MODELS_BUCKET"]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Shop:
    """A deployed stack, as a shop's server calls it."""

    s3: S3Client
    dynamodb: DynamoDBClient
    cache: Path
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    handlers: dict[str, Handler] = field(default_factory=dict)

    @property
    def state(self) -> StateStore:
        return StateStore(self.dynamodb, os.environ["STATE_TABLE"], clock=self.clock, sleep=lambda seconds: None)

    def publish(self, directory: Path) -> str:
        version = publish(self.s3, MODELS, directory)
        promote(self.s3, MODELS, json.loads((directory / "bundle.json").read_text())["name"], version)
        return version

    def services(self, job: str) -> Services:
        monitor = Monitor(job)
        for handler in monitor.logger.handlers:  # loggers live as long as the process, the captured stdout as long as a test
            handler.stream = sys.stdout
        names = () if job == "events" else (job, f"{job}-table")
        stores = {
            name: ModelStore(
                self.s3, MODELS, name, cache_dir=self.cache, clock=self.clock, on_failure=monitor.count_refresh_failure
            )
            for name in names
        }
        return Services(Settings.from_environment(), monitor, self.s3, self.state, stores, self.clock, dynamodb=self.dynamodb)

    def handler(self, job: str) -> Handler:
        """The function's own, over this shop; kept, as Lambda keeps it between calls."""
        if job not in self.handlers:
            module = importlib.import_module(f"functions.{job}.api")
            self.handlers[job] = module.build(self.services(job))
        return self.handlers[job]

    def call(self, job: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return self.invoke(job, proxy_event(method, path, body, headers=headers))

    def invoke(self, job: str, event: dict[str, Any]) -> Reply:
        """The function's response, which is of the model that `openapi.yaml` publishes for it."""
        response = self.handler(job)(event, None)
        assert response["isBase64Encoded"] is False
        headers = {name: values[0] for name, values in response["multiValueHeaders"].items()}
        _model_of(event, response["statusCode"]).model_validate_json(response["body"], strict=True)
        return Reply(response["statusCode"], headers, json.loads(response["body"], parse_constant=_no_constant))


def _model_of(event: Mapping[str, Any], status: int) -> type[BaseModel]:
    if status != 200:
        return Problem
    (operation,) = [
        operation
        for (method, path), operation in OPERATIONS.items()
        if method == event["httpMethod"] and re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), event["path"].rstrip("/"))
    ]
    return operation.response


def job_of_path(path: str) -> str:
    """The function behind a path."""
    parts = path.split("/")
    if parts[2] == "tables":
        return parts[3].removesuffix("-table")
    if parts[2] in ("rankings", "items"):
        return "recommendations"
    if parts[2] == "segments":
        return "profiles"
    return parts[2] if parts[2] in ("profiles", "recommendations", "ads") else "events"


def _no_constant(name: str) -> Any:
    raise AssertionError(f"a response held {name}")
