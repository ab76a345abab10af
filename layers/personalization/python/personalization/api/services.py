"""What a function needs from outside, built once when it starts and passed in."""

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
from personalization.state import StateStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

WRITERS: Final = 16
# The gateway gives up after 29 s; whatever AWS does, three tries of these end long before.
TIMEOUTS: Final = {"connect_timeout": 1, "read_timeout": 3}


@dataclass(frozen=True)
class Services:
    """One function's dependencies. Tests build their own.

    models     the stores of the models that this function answers with, by name
    state      `None` where nothing is remembered
    clock      unix seconds
    new_id     of a request without an `Idempotency-Key`
    dynamodb   the state table's client, for what is counted there; `None` like `state`
    """

    settings: Settings
    monitor: Monitor
    s3: S3Client
    models: Mapping[str, ModelStore] = field(default_factory=dict)
    state: StateStore | None = None
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = lambda: str(uuid4())
    dynamodb: DynamoDBClient | None = None

    @classmethod
    def from_environment(cls, service: str, models: tuple[str, ...] = ()) -> Services:
        """The real ones. Raises `KeyError` for a missing environment variable; asks nobody anything yet."""
        settings = Settings.from_environment()
        monitor = Monitor(service)
        s3 = boto3.client("s3", config=client_config())
        stores = {
            name: ModelStore(
                s3,
                settings.models_bucket,
                name,
                cache_dir=Path(settings.cache_dir),
                ttl=settings.pointer_ttl,
                on_failure=monitor.model_not_refreshed,
            )
            for name in models
        }
        dynamodb = boto3.client("dynamodb", config=client_config(WRITERS))
        store = StateStore(dynamodb, settings.state_table, ttl_days=settings.state_ttl_days, workers=WRITERS)
        return cls(settings, monitor, s3, stores, store, dynamodb=dynamodb)

    def model(self, name: str, user_id: str | None = None) -> Served:
        """The bundle for a user, or why there is none."""
        store = self.models[name]
        try:
            bundle, variant = store.choose(user_id)
        except ModelUnavailable as error:
            return Served(None, None, error.detail)
        return Served(bundle, variant, f"the model could not be refreshed: {store.failure}" if store.failure else "")

    @property
    def users(self) -> StateStore:
        """The state store, in functions that have one."""
        assert self.state is not None, "this function was built without state"
        return self.state

    @cached_property
    def catalogue(self) -> CatalogReader:
        """The items to recommend, besides what the model knows of them."""
        return CatalogReader(self.s3, self.settings.data_bucket, clock=self.clock, on_failure=self.monitor.model_not_refreshed)


@dataclass(frozen=True, slots=True)
class Served:
    """What there is to answer with; `degraded_reason` says what is wrong with it, if anything."""

    bundle: Bundle | None
    variant: str | None
    degraded_reason: str

    def required(self) -> Bundle:
        """Raises `ModelUnavailable`, for routes that can say nothing without a model."""
        if self.bundle is None:
            raise ModelUnavailable(self.degraded_reason)
        return self.bundle


def client_config(connections: int = 10) -> Config:
    """Short timeouts and few retries, so that nothing hangs."""
    return Config(
        **TIMEOUTS,  # type: ignore[arg-type]
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=connections,
    )
