"""From files to rows that teach, validate and judge."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.ads.features import LIST_SEPARATOR, NON_FEATURE_COLUMNS, Ads, split
from personalization.ads.impression_features import Columns
from personalization.core import cells
from personalization.core.encoder import TableEncoder
from personalization.core.errors import InvalidInput
from personalization.core.events import Events, empty_events
from personalization.core.schema import AD_ID, ITEM_ID
from personalization.core.time import DAY_MS
from training.bundle_writer import fingerprint
from training.io.interactions import read_interactions
from training.io.tables import read_attributes, read_chunks
from training.tasks.ads.columns import decide
from training.tasks.ads.heads import AdTasks
from training.tasks.ads.impressions import Impressions, attribution_window, read_impressions
from training.tasks.ads.model import Place, places_of, tasks_of
from training.tasks.ads.options import AdData
from training.tasks.ads.rows import ImpressionSources, described
from training.tasks.ads.splits import ImpressionSplit
from training.tasks.ads.splits import split as split_log
from training.tasks.tabular.columns import ColumnDecision

_LISTED: Final = 0.2  # share of the ads whose cell is a list, for a column to be one of lists
_LIST_WORDS: Final = 64
_LEAST_OUTCOMES: Final = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Impressions and what is known of each, by column."""

    log: Impressions
    columns: Columns

    def __len__(self) -> int:
        return len(self.log)

    def take(self, rows: NDArray[Any]) -> Rows:
        """The rows at these indices or under this mask."""
        return Rows(self.log.take(rows), {name: content[rows] for name, content in self.columns.items()})


@dataclass(frozen=True)
class PreparedAds:
    """What training starts from.

    lists      words of the ads' columns that hold lists
    report     what became of the data, for metrics.json
    """

    train: Rows
    valid: Rows
    test: Rows
    split: ImpressionSplit
    encoder: TableEncoder
    decisions: list[ColumnDecision]
    tasks: AdTasks
    places: list[Place]
    lists: dict[str, list[str]]
    attribution_days: float
    report: dict[str, Any]
    notes: list[str]
    fingerprint: str


def prepare_ads(data: AdData) -> PreparedAds:
    """Raises `InvalidInput` for what the user can put right."""
    zone = data.zone
    log = read_impressions(data.impressions, data.mapping, zone)
    days = data.attribution_days or attribution_window(log)
    log = within(log, days)
    table = read_ads(data) if data.ads else {}
    lists = find_lists(table)
    cells_of_ads = ad_columns(log.ads, table)
    histories = ImpressionSources(
        events=users_events(data, log.users),
        attributes=read_attributes(data.users, log.users, mapping=data.mapping, zone=zone) if data.users else {},
        ads=Ads.from_table(cells_of_ads, len(log.ads), lists, zone),
        exposures=log.exposures,
        window=data.window,
        zone=zone,
    )
    parts = split_log(log, days, hold_out_test=not data.no_test, seed=data.seed)
    rows = [_sampled(np.flatnonzero(mask), data) for mask in (parts.train, parts.valid, parts.test)]
    train, valid, test = (_rows(log, histories, chosen) for chosen in rows)
    print_ = fingerprint(data.files)
    return prepared_from(train, valid, test, parts, lists, days, data, print_, _report(log, parts, days, histories))


def prepared_from(
    train: Rows,
    valid: Rows,
    test: Rows,
    parts: ImpressionSplit,
    lists: dict[str, list[str]],
    days: float,
    data: AdData,
    print_: str,
    report: dict[str, Any],
) -> PreparedAds:
    """What training rows decide: columns, tasks, places. Raises `InvalidInput` where they teach nothing."""
    salt = hashlib.blake2b(f"{print_}/{data.seed}".encode(), digest_size=16).hexdigest()
    decisions = decide(train.columns, train.log.user, train.log.ad, salt)
    places = places_of(train.log)
    tasks = tasks_of(train.log, places)
    if not tasks.outputs:
        raise InvalidInput("expected clicks or conversions among the training impressions, found none")
    encoder = TableEncoder(tuple(decision.column for decision in decisions if decision.column is not None), data.zone)
    notes = _notes(train, valid, parts, tasks, days)
    report = report | {"rows": {"train": len(train), "validation": len(valid), "test": len(test)}}
    return PreparedAds(train, valid, test, parts, encoder, decisions, tasks, places, lists, days, report, notes, print_)


def within(log: Impressions, days: float) -> Impressions:
    """The log, in which what came later than the attribution window did not come."""
    if log.conversion is None:
        return log
    late = (log.conversion > 0) & (log.converted_at > log.moment + round(days * DAY_MS))
    log.report["conversions_after_the_window"] = int(late.sum())
    return replace(log, conversion=np.where(late, 0.0, log.conversion))


def read_ads(data: AdData) -> dict[str, dict[str, Any]]:
    """Cells of the ads table by ad id; the first row of an ad counts."""
    assert data.ads is not None
    found: dict[str, dict[str, Any]] = {}
    for columns, rows, _ in read_chunks(data.ads, (AD_ID,), mapping=data.mapping, zone=data.zone):
        ids = cells.words(columns[AD_ID])
        for row in range(rows):
            ad_id = ids[row]
            if ad_id is not None:
                found.setdefault(ad_id, {name: content[row] for name, content in columns.items()})
    return found


def ad_columns(ads: Sequence[str], table: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns of the log's ads, in its order; an ad that the table lacks has only its id."""
    names = dict.fromkeys(name for row in table.values() for name in row)
    columns = {name: [table.get(ad, {}).get(name) for ad in ads] for name in names}
    return columns | {AD_ID: list(ads)}


def find_lists(table: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Words of the columns whose cells are lists, the most frequent first."""
    lists: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in table.values() for name in row):
        if name in NON_FEATURE_COLUMNS or name in (AD_ID, ITEM_ID):
            continue
        content = [row.get(name) for row in table.values()]
        listed = sum(LIST_SEPARATOR in (cells.word(cell) or "") for cell in content)
        if listed >= _LISTED * len(content):
            counts = Counter(word for cell in content for word in split(cell))
            lists[name] = [word for word, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:_LIST_WORDS]]
    return lists


def users_events(data: AdData, users: list[str]) -> Events:
    """The interactions of the log's users, numbered as they are there."""
    if not data.interactions:
        return empty_events(users)
    events = read_interactions(data.interactions, mapping=data.mapping, zone=data.zone).events
    place = {user: code for code, user in enumerate(users)}
    code = np.array([place.get(user, -1) for user in events.users] or [-1], dtype=np.int32)[events.user]
    known = code >= 0
    return replace(events.take(known), user=code[known], users=users)


def _sampled(rows: NDArray[np.int64], data: AdData) -> NDArray[np.int64]:
    if len(rows) <= data.max_rows:
        return rows
    return np.sort(np.random.default_rng(data.seed).choice(rows, data.max_rows, replace=False))


def _rows(log: Impressions, histories: ImpressionSources, chosen: NDArray[np.int64]) -> Rows:
    part = log.take(chosen)
    return Rows(part, described(part, histories) if len(part) else {})


def _report(log: Impressions, parts: ImpressionSplit, days: float, histories: ImpressionSources) -> dict[str, Any]:
    report = {"rejected": {}} | dict(log.report)
    report["rows_in_log"] = len(log)
    for name in ("click", "conversion"):
        outcome = getattr(log, name)
        report[f"{name}s"] = None if outcome is None else int(outcome.sum())
    return report | {
        "users": len(log.users),
        "ads": len(log.ads),
        "held_back": int((~log.shown).sum()),
        "events": len(histories.events),
        "attribution_days": days,
        "immature": parts.immature,
        "not_known_in_time": parts.between,
        "by_user": parts.by_user,
    }


def _notes(train: Rows, valid: Rows, parts: ImpressionSplit, tasks: AdTasks, days: float) -> list[str]:
    notes = []
    if parts.by_user:
        notes.append("the log tells no time: other users validate and judge, not later impressions")
    if parts.immature:
        notes.append(f"{parts.immature} impressions are younger than {days:g} days: their outcome may still come")
    if not tasks.places:
        notes.append("the log has no positions: every place counts as seen")
    if not tasks.untreated:
        notes.append("nothing was held back: what an ad changes is not known, own campaigns are ranked by response")
    for name in ("click", "conversion"):
        outcome = getattr(train.log, name)
        if outcome is not None and 0 < outcome.sum() < _LEAST_OUTCOMES:
            notes.append(f"only {int(outcome.sum())} {name}s among the training rows: a model of so few is a guess")
    if train.log.weight.std() > 0 or valid.log.weight.std() > 0:
        notes.append("rows are weighted back to the impressions that they stand for, in training, calibration and metrics")
    return notes
