"""The options of training from raw events, by job."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

# The option that gives the raw events of a job.
SOURCE: Final = {"profiles": "interactions", "recommendations": "interactions", "ads": "impressions"}


def _profiles(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from interactions")
    _files(group, "interactions", "items", "users")
    group.add_argument("--id-map", type=Path, metavar="F", help="table: other id → user_id, for channels with ids of their own")
    group.add_argument("--cutoff", type=_day, metavar="DATE", help="the test cut; training looks at earlier cuts only")
    group.add_argument("--horizon", type=_days, default=14, metavar="DAYS", help="buys within them")
    group.add_argument(
        "--churn-horizon", type=_days, default=90, metavar="DAYS", help="churned when nothing is bought within them"
    )


def _recommendations(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from interactions")
    _files(group, "interactions", "items")
    group.add_argument("--split", choices=("leave-one-out", "temporal"), default="temporal")
    group.add_argument("--cutoff", type=_day, metavar="DATE", help="where the temporal split cuts")


def _ads(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from impressions")
    _files(group, "impressions", "ads", "users", "interactions")
    group.add_argument(
        "--attribution-days", type=_days, metavar="DAYS", help="a conversion is waited for so long; else found in the data"
    )


ADD: Final[dict[str, Callable[[argparse.ArgumentParser], None]]] = {
    "profiles": _profiles,
    "recommendations": _recommendations,
    "ads": _ads,
}

# Where a job's usual options are not those of the others.
DEFAULTS: Final[dict[str, dict[str, object]]] = {"recommendations": {"budget": 1200.0}}


def fit_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What every network's training is told, by name of the field of its `FitOptions`."""
    return {name: getattr(arguments, name) for name in ("seed", "epochs", "quiet", "tensorboard", "budget")}


def model_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What every job is told of its model, by name of the field of its options."""
    return {name: getattr(arguments, name) for name in ("out", "model", "tune", "refit")}


def _files(group: argparse._ArgumentGroup, *names: str) -> None:
    for name in names:
        if name == "interactions":
            group.add_argument(
                f"--{name}", type=Path, metavar="F", action="append", help="may be given several times: they are merged"
            )
        else:
            group.add_argument(f"--{name}", type=Path, metavar="F")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date such as 2026-01-31, received {text!r}") from None


def _days(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 730:
        raise argparse.ArgumentTypeError(f"expected 1 to 730 days, received {value}")
    return value
