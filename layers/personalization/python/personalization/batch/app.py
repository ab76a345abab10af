"""The composition root of a batch function: its handler with real clients, built once when the function starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from botocore.config import Config

from personalization.ads.ad_catalog import AdCatalogReader, write_ad_catalog
from personalization.ads.exposure import ExposureStore
from personalization.batch.handler import BatchHandler
from personalization.batch.partitions import Partition
from personalization.batch.runner import Runner
from personalization.batch.scratch import scratch_directory
from personalization.batch.task import JobDependencies
from personalization.bundles import ModelStore
from personalization.bundles.bundle import Bundle
from personalization.catalog import CatalogReader, CatalogWriter
from personalization.core.settings import Settings
from personalization.profiles.predict import history_window
from personalization.state import StateStore, partition_key
from personalization.state.dynamodb import StateTable

_WRITERS: Final = 16


def batch_handler(job: str) -> Callable[[dict[str, Any], Any], Mapping[str, Any]]:
    """The Lambda handler of one job's queue. Raises `KeyError` for a missing environment variable."""
    settings = Settings.from_environment()
    logger, metrics = Logger(), Metrics()
    s3 = boto3.client(
        "s3", config=Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})
    )
    dynamodb = boto3.client(
        "dynamodb",
        config=Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 5},
            max_pool_connections=_WRITERS,
        ),
    )
    state = StateStore(dynamodb, settings.state_table, ttl_days=settings.state_ttl_days, workers=_WRITERS)
    cache_dir = Path(settings.cache_dir)

    def refresh_failed(_cause: str) -> None:
        metrics.add_metric(name="ModelRefreshFailures", unit=MetricUnit.Count, value=1)

    @cache
    def models(name: str) -> ModelStore:
        return ModelStore(
            s3,
            settings.models_bucket,
            name,
            cache_dir=cache_dir,
            ttl=settings.pointer_ttl,
            threads=os.cpu_count() or 1,
            on_failure=refresh_failed,
        )

    def write_windows(bundle: Bundle, users: Partition) -> None:
        state.write_windows(users.events, users.event_ids, users.order_ids, history_window(bundle).max_events)

    exposures = ExposureStore(StateTable(dynamodb, settings.state_table), settings.state_ttl_days)
    runner = Runner(
        s3,
        settings.data_bucket,
        lambda name: models(name).choose()[0],
        max_reject_share=settings.max_reject_share,
        temp_dir=scratch_directory(cache_dir.parent),
        dependencies=JobDependencies(
            read_catalog=CatalogReader(s3, settings.data_bucket, ttl=0.0).get,
            write_catalog=CatalogWriter(s3, settings.data_bucket).append,
            write_windows=write_windows,
            read_events=lambda user_id: state.read(user_id).events,
            read_ads=AdCatalogReader(s3, settings.data_bucket, ttl=0.0).get,
            read_exposures=lambda user_id, ads: exposures.read(partition_key("user", user_id), ads),
            write_ads=partial(write_ad_catalog, s3, settings.data_bucket),
        ),
    )
    handler = BatchHandler(job, settings.data_bucket, runner.run, logger, metrics)

    @logger.inject_lambda_context
    @metrics.log_metrics
    def lambda_handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
        return handler(event, context)

    return lambda_handler
