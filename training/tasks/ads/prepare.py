"""From files to described, split and typed impressions."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.ads.features import LIST_SEPARATOR, NON_FEATURE_COLUMNS, AdFeatures, Columns, split_list
from personalization.core import cells
from personalization.core.encoder import TableEncoder
from personalization.core.errors import InvalidInput
from personalization.core.events import Events, empty_events
from personalization.core.schema import AD_ID, ITEM_ID
from personalization.core.time import parse_timezone
from personalization.features import HistoryWindow
from training.bundle_writer import fingerprint
from training.fitting import Examples
from training.io.interactions import read_interactions
from training.io.tables import read_attributes, read_chunks
from training.tasks.ads.columns import ImpressionSources, select_columns
from training.tasks.ads.heads import AdTasks
from training.tasks.ads.impressions import (
    Impressions,
    ImpressionSplit,
    attribution_window,
    drop_late_conversions,
    read_impressions,
    split_impressions,
)
from training.tasks.ads.model import AdPosition, examples_of, frequent_positions, tasks_of
from training.tasks.tabular.columns import ColumnDecision

_LIST_SHARE: Final = 0.2  # of the ads whose cell is a list, from which a column holds lists
_MAX_LIST_WORDS: Final = 64
_FEW_OUTCOMES: Final = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdData:
    """The data of `train ads --impressions`.

    impressions        log of impressions, with click or conversion
    ads, users         tables of attributes; without `ads` an ad is only its id
    interactions       files, merged: events of the users
    attribution_days   after an impression, within which conversions count; None: estimated from the log
    no_test            nothing is held out for test: the last impressions are validation
    timezone           of the shop: of hours and weekdays, and of timestamps without an offset
    window             history that features see
    max_rows           more training rows than this are sampled (seeded)
    """

    impressions: Path
    ads: Path | None = None
    users: Path | None = None
    interactions: tuple[Path, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    attribution_days: float | None = None
    no_test: bool = False
    timezone: str = "UTC"
    window: HistoryWindow = field(default_factory=HistoryWindow)
    max_rows: int = 400_000
    seed: int = 0

    @property
    def files(self) -> list[Path]:
        others = (path for path in (self.ads, self.users) if path is not None)
        return [self.impressions, *others, *self.interactions]

    @property
    def zone(self) -> tzinfo:
        """Raises `InvalidInput` for a name that the time zone database does not have."""
        return parse_timezone(self.timezone)


@dataclass(frozen=True)
class DescribedImpressions:
    """Impressions and their described columns."""

    log: Impressions
    columns: Columns

    def __len__(self) -> int:
        return len(self.log)


@dataclass(frozen=True)
class PreparedAds:
    """Described impressions, and what training rows decide.

    decisions   one for each column
    positions   with an examination probability of their own
    lists       words of the ads' columns that hold lists
    report      counts of rows and outcomes, for metrics.json
    """

    train: DescribedImpressions
    valid: DescribedImpressions
    test: DescribedImpressions
    encoder: TableEncoder
    decisions: list[ColumnDecision]
    tasks: AdTasks
    positions: list[AdPosition]
    lists: dict[str, list[str]]
    attribution_days: float
    report: dict[str, Any]
    notes: list[str]
    fingerprint: str

    def encode(self, rows: DescribedImpressions) -> Examples:
        """The rows as the network takes them, with their target."""
        return examples_of(self.encoder, rows.columns, rows.log, self.positions)


def prepare_ads(data: AdData) -> PreparedAds:
    """Read, split and describe impressions. Raises `InvalidInput` for what the user can put right."""
    zone = data.zone
    log = read_impressions(data.impressions, data.mapping, zone)
    days = data.attribution_days or attribution_window(log)
    log = drop_late_conversions(log, days)
    table = read_ads(data) if data.ads else {}
    lists = list_columns(table)
    sources = ImpressionSources(
        events=users_events(data, log.users),
        attributes=read_attributes(data.users, log.users, mapping=data.mapping, zone=zone) if data.users else {},
        ads=AdFeatures.from_table(ad_columns(log.ads, table), len(log.ads), lists, zone),
        exposures=log.exposures,
        window=data.window,
        zone=zone,
    )
    split = split_impressions(log, days, no_test=data.no_test, seed=data.seed)
    train, valid, test = (_described(log, mask, sources, data) for mask in (split.train, split.valid, split.test))
    data_fingerprint = fingerprint(data.files)
    salt = hashlib.blake2b(f"{data_fingerprint}/{data.seed}".encode(), digest_size=16).hexdigest()
    decisions = select_columns(train.columns, train.log.user, train.log.ad, salt)
    positions = frequent_positions(train.log)
    tasks = tasks_of(train.log, positions)
    if not tasks.outputs:
        raise InvalidInput("expected clicks or conversions among the training impressions, found none")
    prepared = PreparedAds(
        train=train,
        valid=valid,
        test=test,
        encoder=TableEncoder(tuple(decision.column for decision in decisions if decision.column is not None), zone),
        decisions=decisions,
        tasks=tasks,
        positions=positions,
        lists=lists,
        attribution_days=days,
        report=_report(log, split, days, len(sources.events))
        | {"rows": {"train": len(train), "validation": len(valid), "test": len(test)}},
        notes=_notes(train, valid, split, tasks, days),
        fingerprint=data_fingerprint,
    )
    _log_summary(prepared)
    return prepared


def read_ads(data: AdData) -> dict[str, dict[str, Any]]:
    """Cells of the ads table by ad id and column; the first row of an ad counts."""
    assert data.ads is not None
    ads: dict[str, dict[str, Any]] = {}
    for columns, rows, _ in read_chunks(data.ads, (AD_ID,), mapping=data.mapping, zone=data.zone):
        ids = cells.words(columns[AD_ID])
        for row in range(rows):
            ad_id = ids[row]
            if ad_id is not None:
                ads.setdefault(ad_id, {name: content[row] for name, content in columns.items()})
    return ads


def ad_columns(ads: Sequence[str], table: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns of the log's ads, in its order. An ad that the table lacks has only its id."""
    names = dict.fromkeys(name for row in table.values() for name in row)
    columns = {name: [table.get(ad, {}).get(name) for ad in ads] for name in names}
    return columns | {AD_ID: list(ads)}


def list_columns(table: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Words of the columns whose cells are lists, by column, the most frequent first."""
    lists: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in table.values() for name in row):
        if name in NON_FEATURE_COLUMNS or name in (AD_ID, ITEM_ID):
            continue
        content = [row.get(name) for row in table.values()]
        listed = sum(LIST_SEPARATOR in (cells.word(cell) or "") for cell in content)
        if listed >= _LIST_SHARE * len(content):
            counts = Counter(word for cell in content for word in split_list(cells.word(cell)))
            by_count = sorted(counts, key=lambda word: (-counts[word], word))
            lists[name] = by_count[:_MAX_LIST_WORDS]
    return lists


def users_events(data: AdData, users: list[str]) -> Events:
    """The interactions of the log's users, with the log's codes of users."""
    if not data.interactions:
        return empty_events(users)
    events = read_interactions(data.interactions, mapping=data.mapping, zone=data.zone).events
    place = {user: code for code, user in enumerate(users)}
    code = np.array([place.get(user, -1) for user in events.users] or [-1], dtype=np.int32)[events.user]
    known = code >= 0
    return replace(events.take(known), user=code[known], users=users)


def _described(log: Impressions, mask: NDArray[np.bool_], sources: ImpressionSources, data: AdData) -> DescribedImpressions:
    rows = np.flatnonzero(mask)
    if len(rows) > data.max_rows:
        rows = np.sort(np.random.default_rng(data.seed).choice(rows, data.max_rows, replace=False))
    part = log.take(rows)
    return DescribedImpressions(part, sources.describe(part) if len(part) else {})


def _report(log: Impressions, split: ImpressionSplit, days: float, events: int) -> dict[str, Any]:
    report: dict[str, Any] = {"rejected": {}, **log.report, "rows_in_log": len(log)}
    for name, outcome in (("clicks", log.click), ("conversions", log.conversion)):
        report[name] = None if outcome is None else int(outcome.sum())
    return report | {
        "users": len(log.users),
        "ads": len(log.ads),
        "held_back": int((~log.shown).sum()),
        "events": events,
        "attribution_days": days,
        "immature": split.immature,
        "not_known_in_time": split.unknown_at_test,
        "by_user": split.by_user,
    }


def _notes(
    train: DescribedImpressions, valid: DescribedImpressions, split: ImpressionSplit, tasks: AdTasks, days: float
) -> list[str]:
    notes = []
    if split.by_user:
        notes.append("the log has no order in time: validation and test are other users, not later impressions")
    if split.immature:
        notes.append(f"{split.immature} impressions are younger than {days:g} days and are left out: outcomes may still come")
    if not tasks.positions:
        notes.append("the log has no positions: every position counts as examined")
    if not tasks.untreated:
        notes.append("the log has no control group: the effect of an ad is not known, own campaigns are ranked by response")
    for name, outcome in (("click", train.log.click), ("conversion", train.log.conversion)):
        if outcome is not None and 0 < outcome.sum() < _FEW_OUTCOMES:
            notes.append(f"only {int(outcome.sum())} {name}s among the training rows: their model is a rough guess")
    if train.log.weight.std() > 0 or valid.log.weight.std() > 0:
        notes.append("rows count by their sample_weight in training, calibration and metrics")
    return notes


def _log_summary(prepared: PreparedAds) -> None:
    report, rows = prepared.report, prepared.report["rows"]
    _log.info("%d impressions of %d ads to %d users", report["rows_in_log"], report["ads"], report["users"])
    _log.info("rows: %d for training, %d for validation, %d for test", rows["train"], rows["validation"], rows["test"])
    for note in prepared.notes:
        _log.info("%s", note)
    used = sum(decision.column is not None for decision in prepared.decisions)
    _log.info("%d of %d columns are used", used, len(prepared.decisions))
