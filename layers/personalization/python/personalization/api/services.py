"""Dependencies of an API function: settings, AWS clients, model stores, state and the monitor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import boto3
from botocore.config import Config

from personalization.bundles import ModelStore
from personalization.bundles.bundle import Bundle
from personalization.catalog import CatalogReader
from personalization.core.errors import ModelUnavailable
from personalization.core.observability import Monitor
from personalization.core.settings import Settings
from personalization.core.time import DAY_MS, parse_timestamp
from personalization.state import StateStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

WRITERS: Final = 16  # connections for writing users' events at the same time


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The bundle for a request.

    bundle           `None` where none can be loaded
    variant          ``champion`` or ``challenger``, `None` without a bundle
    degraded_reason  why there is no bundle or an older one, empty where it is the current one
    """

    bundle: Bundle | None
    variant: str | None
    degraded_reason: str = ""

    def required(self) -> Bundle:
        """The bundle, for routes that have no response without one. Raises `ModelUnavailable`."""
        if self.bundle is None:
            raise ModelUnavailable(self.degraded_reason)
        return self.bundle

    @property
    def label(self) -> str:
        """Name and version of the model, for the log."""
        return f"{self.bundle.name}/{self.bundle.version}" if self.bundle else ""

    def age_days(self, now_ms: int) -> float | None:
        """Days since the model was created."""
        created_ms = parse_timestamp(self.bundle.manifest["created_at"]) if self.bundle else None
        return None if created_ms is None else max(0.0, (now_ms - created_ms) / DAY_MS)


@dataclass(frozen=True)
class Services:
    """One function's dependencies, built once at its start. Tests build their own.

    models     stores of the models that the function serves, by name
    clock      unix seconds
    new_id     id of a request without an `Idempotency-Key`
    dynamodb   client of the state table for budgets and exposures; without it ads are decided without both
    """

    settings: Settings
    monitor: Monitor
    s3: S3Client
    state: StateStore
    models: Mapping[str, ModelStore] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = lambda: str(uuid4())
    dynamodb: DynamoDBClient | None = None

    @classmethod
    def from_environment(cls, service: str, models: tuple[str, ...] = ()) -> Services:
        """Dependencies on AWS; nothing is read yet. Raises `KeyError` for a missing environment variable."""
        settings = Settings.from_environment()
        monitor = Monitor(service)
        s3 = boto3.client("s3", config=client_config())
        dynamodb = boto3.client("dynamodb", config=client_config(WRITERS))
        state = StateStore(dynamodb, settings.state_table, ttl_days=settings.state_ttl_days, workers=WRITERS)
        stores = {
            name: ModelStore(
                s3,
                settings.models_bucket,
                name,
                cache_dir=Path(settings.cache_dir),
                ttl=settings.pointer_ttl,
                on_failure=monitor.count_refresh_failure,
            )
            for name in models
        }
        return cls(settings, monitor, s3, state, stores, dynamodb=dynamodb)

    def model(self, name: str, user_id: str | None = None) -> ServedModel:
        """The model for a user; without `user_id` the champion."""
        store = self.models[name]
        try:
            bundle, variant = store.choose(user_id)
        except ModelUnavailable as error:
            return ServedModel(None, None, error.detail)
        return ServedModel(bundle, variant, f"the model could not be refreshed: {store.failure}" if store.failure else "")

    @cached_property
    def catalog(self) -> CatalogReader:
        """The items to recommend."""
        return CatalogReader(
            self.s3, self.settings.data_bucket, clock=self.clock, on_failure=self.monitor.count_refresh_failure
        )


def client_config(connections: int = 10) -> Config:
    """Three attempts within 12 seconds: API Gateway gives up after 29."""
    return Config(
        connect_timeout=1,
        read_timeout=3,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=connections,
    )
