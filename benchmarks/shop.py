"""The dependencies of measurements: the demo's bundles, and a function's handler over one of them."""

from __future__ import annotations

import importlib
import logging
import os
from pathlib import Path
from typing import Any, cast

import boto3

from local import BUNDLES
from local.tour.data import Tables, prepare
from local.tour.models import models, train
from personalization.api import Handler, Services
from personalization.bundles import ModelStore
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.core.observability import Monitor
from personalization.core.settings import Settings
from personalization.state import StateStore

# A function asks for these when it is imported; nothing here calls AWS.
for _name, _value in {
    "MODELS_BUCKET": "models",
    "DATA_BUCKET": "data",
    "STATE_TABLE": "state",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_METRICS_NAMESPACE": "benchmark",
}.items():
    os.environ.setdefault(_name, _value)

LOG = Path("build") / "benchmarks.log"


def tables() -> Tables:
    """The demo's data, written where it is not there yet."""
    LOG.parent.mkdir(exist_ok=True)
    return prepare(LOG)


def demo_bundle(name: str, threads: int = 1) -> Bundle:
    """A bundle of `make demo`, trained where it is not there yet."""
    model = next(model for model in models(tables()) if model.name == name)
    train(model, LOG, fresh=False)
    return load_bundle(BUNDLES / name, threads=threads)


class Settled:
    """A model store that has its bundle: what a warm function sees between two looks at the pointer."""

    failure = ""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def choose(self, user_id: str | None = None) -> tuple[Bundle, str]:
        return self._bundle, "champion"


def handler(job: str, bundle: Bundle) -> Handler:
    """The deployed function's handler, without stores behind it; its log lines go nowhere, but are made."""
    monitor = Monitor(job)
    for one in monitor.logger.handlers:
        cast("logging.StreamHandler[Any]", one).stream = open("/dev/null", "w")  # noqa: PTH123, SIM115
    settings = Settings.from_environment()
    store = cast(ModelStore, Settled(bundle))
    state = StateStore(boto3.client("dynamodb"), settings.state_table)  # there as in Lambda, never asked
    services = Services(settings, monitor, boto3.client("s3"), state, {bundle.name: store, f"{job}-table": store})
    built: Handler = importlib.import_module(f"functions.{job}.api").build(services)
    return built
