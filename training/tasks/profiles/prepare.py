"""From files to samples: read, merge and clean events, choose cuts, compute features and labels at each."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from personalization.core.errors import InvalidInput
from personalization.core.events import Events
from personalization.core.schema import HAZARD_DAYS
from personalization.core.time import parse_timezone
from personalization.features import HistoryWindow
from personalization.features.orders import is_purchase
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from training.bundle_writer import fingerprint
from training.io.interactions import InteractionData, read_interactions
from training.io.point_in_time import Cut, TemporalSplit, temporal_split
from training.io.tables import read_attributes, read_categories, read_id_map
from training.tasks.profiles.feature_selection import select_features
from training.tasks.profiles.labels import frequent_categories
from training.tasks.profiles.pareto_nbd import fit_customer_base
from training.tasks.profiles.samples import Sample, Sampler, SampleSpec, stack
from training.tasks.profiles.targets import ProfileTargets
from training.tasks.tabular.columns import ColumnDecision, decide_columns

MAX_CATEGORIES: Final = 50
CATEGORY_COVER: Final = 0.95
VALIDATION_SHARE: Final = 0.2  # of the users, where training and validation share their cuts
_MIN_USERS: Final = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProfileData:
    """Files and horizons.

    interactions    files, merged; `mapping` (our name → their column) is for all without a mapping file beside them
    items, users    tables with categories and attributes
    id_map          table: other id → user_id
    cutoff          the test cut: the first day that training does not use
    no_test         nothing is held out for test: training goes up to the cutoff, or to the end of the data
    horizon         days of the headline probability and of the expected spend
    churn_horizon   days without a purchase that count as churn
    timezone        of the shop: of days and hours, and of timestamps without an offset
    window          history that features see
    max_users       more users than this, or their events, are sampled by user (seeded); max_rows limits the training rows
    """

    interactions: tuple[Path, ...]
    items: Path | None = None
    users: Path | None = None
    id_map: Path | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    cutoff: date | None = None
    no_test: bool = False
    horizon: int = 14
    churn_horizon: int = 90
    timezone: str = "UTC"
    window: HistoryWindow = field(default_factory=HistoryWindow)
    max_users: int = 60_000
    max_events: int = 6_000_000
    max_rows: int = 300_000
    seed: int = 0

    @property
    def files(self) -> list[Path]:
        return [*self.interactions, *(path for path in (self.items, self.users, self.id_map) if path is not None)]

    @property
    def days(self) -> tuple[int, ...]:
        """Ends of the intervals of the hazard, ascending."""
        return tuple(sorted({*HAZARD_DAYS, self.horizon, self.churn_horizon}))

    @property
    def zone(self) -> tzinfo:
        """Raises `InvalidInput` for a name that the time zone database does not have."""
        return parse_timezone(self.timezone)


@dataclass(frozen=True)
class PreparedProfiles:
    """train, valid, test   rows; `test` is None where nothing is held out
    latest              rows of every user at the cutoff: the shop's current customers
    category_of_item    empty without an items file
    decisions           one for each feature and attribute
    report              counts of files, rows and users, for metrics.json
    """

    data: ProfileData
    spec: SampleSpec
    cuts: TemporalSplit
    encoder: TableEncoder
    train: Sample
    valid: Sample
    test: Sample | None
    latest: Sample
    category_of_item: dict[str, str]
    decisions: list[ColumnDecision]
    currency: str | None
    report: dict[str, Any]
    fingerprint: str

    def targets(self, seed: int, train: Sample | None = None) -> ProfileTargets:
        """What `train` (by default the training rows) can teach, with a customer base fitted to the latest histories."""
        spec = self.spec
        base = fit_customer_base(self.latest.columns, self.encoder, seed)
        return ProfileTargets.from_sample(
            train or self.train, spec.days, spec.horizon, spec.categories, base, self.cuts.extrapolated
        )


def prepare_profiles(data: ProfileData, now: datetime | None = None) -> PreparedProfiles:
    """Raises `InvalidInput` for what the user can put right: no purchases, too short a history, too few users."""
    zone = data.zone
    user_ids = read_id_map(data.id_map) if data.id_map else {}
    source = read_interactions(data.interactions, mapping=data.mapping, user_ids=user_ids, zone=zone, now=now)
    events, report = _sampled(source, data)
    if not is_purchase(events).any():
        kinds = ", ".join(report["event_types"])
        raise InvalidInput(f"expected events of type purchase, to learn who will buy; received {kinds}")
    category_of_item = read_categories(data.items) if data.items else {}
    events = events.with_categories(category_of_item)
    users = len(events.users)
    cuts = temporal_split(
        int(events.timestamp.min()),
        int(events.timestamp.max()),
        zone,
        horizon=data.horizon,
        cutoff=data.cutoff,
        hold_out_test=not data.no_test,
    )
    cuts = _thinned(cuts, users, data.max_rows)
    attributes = read_attributes(data.users, events.users, user_ids=user_ids, zone=zone) if data.users else {}
    spec = SampleSpec(
        days=data.days,
        horizon=data.horizon,
        window=data.window,
        zone=zone,
        categories=frequent_categories(events, cuts.cutoff, MAX_CATEGORIES, CATEGORY_COVER),
        attributes={ATTRIBUTE_PREFIX + name: content for name, content in attributes.items()},
    )
    sampler = Sampler(events, spec)
    train = stack([sampler.sample(cut) for cut in cuts.train])
    if cuts.by_user:
        held_out = (np.random.default_rng(data.seed).random(users) < VALIDATION_SHARE)[train.user]
        train, valid = train.take(~held_out), train.take(held_out)
    else:
        valid = stack([sampler.sample(cut) for cut in cuts.validation])
    test = sampler.sample(cuts.test) if cuts.test else None
    latest = test if test is not None else sampler.sample(Cut(cuts.cutoff, cuts.cutoff))
    if len(train) < _MIN_USERS or not len(valid):
        raise InvalidInput(f"expected at least {_MIN_USERS} users before the training cuts, received {len(train)}")
    data_fingerprint = fingerprint(data.files)
    decisions = select_features({name: train.columns[name] for name in train.columns if name not in spec.attributes})
    salt = hashlib.blake2b(f"{data_fingerprint}/{data.seed}".encode(), digest_size=16).hexdigest()
    decisions += _select_attributes(spec.attributes, train.user, salt)
    encoder = TableEncoder(tuple(d.column for d in decisions if d.column is not None), zone)
    report |= {"rows": {"train": len(train), "validation": len(valid), "test": 0 if test is None else len(test)}}
    prepared = PreparedProfiles(
        data,
        spec,
        cuts,
        encoder,
        train,
        valid,
        test,
        latest,
        category_of_item,
        decisions,
        source.currency,
        report,
        data_fingerprint,
    )
    _log_counts(prepared)
    return prepared


def _sampled(source: InteractionData, data: ProfileData) -> tuple[Events, dict[str, Any]]:
    """Sorted events and their report; those of a sample of the users where all would take too much memory."""
    events, report = source.events, dict(source.report)
    users = len(events.users)
    share = min(1.0, data.max_users / users, data.max_events / len(events))
    if share < 1.0:
        report["sampled_users"] = max(1, round(share * users))
        _log.info("%d users: %d of them are sampled", users, report["sampled_users"])
        chosen = np.zeros(users, dtype=bool)
        chosen[np.random.default_rng(data.seed).choice(users, report["sampled_users"], replace=False)] = True
        events = events.take(chosen[events.user]).compact()
    return events.sorted(), report


def _thinned(cuts: TemporalSplit, users: int, max_rows: int) -> TemporalSplit:
    """Fewer training cuts where users × cuts exceed `max_rows`: evenly spread, the newest among them."""
    most = max(2, max_rows // max(users, 1))
    if len(cuts.train) <= most:
        return cuts
    kept = np.unique(np.linspace(len(cuts.train) - 1, 0, most).round().astype(int))
    train = tuple(cuts.train[index] for index in kept)
    return replace(cuts, train=train, validation=train if cuts.by_user else cuts.validation)


def _select_attributes(attributes: Mapping[str, NDArray[Any]], rows: NDArray[np.int64], salt: str) -> list[ColumnDecision]:
    """One decision for each attribute, over the users of the training rows, each counted once."""
    users = np.unique(rows)
    return decide_columns({name: content[users].tolist() for name, content in attributes.items()}, len(users), salt=salt)


def _log_counts(prepared: PreparedProfiles) -> None:
    report, rows = prepared.report, prepared.report["rows"]
    for note in prepared.cuts.notes:
        _log.info("%s", note)
    _log.info("%d events of %d users, %s to %s", report["events"], report["users"], report["first"], report["last"])
    for reason, count in [*report["rejected"].items(), *report["cleaned"].items()]:
        _log.info("%d events: %s", count, reason)
    if report["suspected_duplicates"]:
        _log.info("%d events are copies of others without an event_id: kept", report["suspected_duplicates"])
    if "warning" in report:
        _log.warning("%s", report["warning"])
    counts = (len(prepared.cuts.train), rows["train"], rows["validation"], rows["test"])
    _log.info("%d training cuts; %d rows, validation %d, test %d", *counts)
    used = sum(decision.column is not None for decision in prepared.decisions)
    _log.info("%d of %d features are used", used, len(prepared.decisions))
