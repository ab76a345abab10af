"""Files of ads: predicted rates of each impression or candidate; a file of the ads table replaces the catalog of ads.

A candidate is a user and an ad without a timestamp. It is scored at the moment at which the file was dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.ads.exposure import Exposure
from personalization.ads.features import AD_PREFIX, AdFeatures, ImpressionRows, impression_columns
from personalization.ads.predict import predict_rates
from personalization.batch.ad_catalog import store_ads
from personalization.batch.flat_tables import positions, spread
from personalization.batch.rejects import first_faults, reject_rows
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.categorical import Vocabulary
from personalization.core.errors import InvalidInput, RowFault
from personalization.core.events import Events, concatenate, empty_events
from personalization.core.parallel import map_parallel
from personalization.core.schema import AD_ID, ADS, IMPRESSIONS, TIMESTAMP, USER_ID
from personalization.core.time import MISSING_TIME
from personalization.data import Chunk, open_table
from personalization.profiles.predict import history_window

CANDIDATES: Final = "candidates"
ROWS_PER_CHUNK: Final = 8_192
_READERS: Final = 8
_NO_USER: Final = "\0"  # in place of a missing id

AdRows = Mapping[str, Mapping[str, Any]]


def score(bundle: Bundle, task: ScoringTask) -> None:
    """One line for each impression or candidate, or one for each ad that was stored; the file's columns decide.

    Raises `InvalidInput` for other files, and for candidates without a moment; `TooManyRejects`.
    """
    reader = open_table(task.path, mapping=task.mapping, kind=task.kind)
    has_pairs = {USER_ID, AD_ID} <= set(reader.columns)
    if reader.kind == ADS.kind and (task.kind is not None or not has_pairs):
        store_ads(bundle, task)
        return
    if not has_pairs:
        raise InvalidInput(
            f"expected impressions ({', '.join(IMPRESSIONS.required)}), candidates ({USER_ID}, {AD_ID}) or ads "
            f"({', '.join(ADS.required)}); received a file without {AD_ID if USER_ID in reader.columns else USER_ID}"
        )
    task.row_counts.kind = IMPRESSIONS.kind
    if TIMESTAMP not in reader.columns:
        task.row_counts.kind = CANDIDATES
        task.row_counts.as_of = task.dropped_at if task.as_of is None else task.as_of
        if task.row_counts.as_of is None:
            raise InvalidInput(f"expected a column {TIMESTAMP}, or --as-of: the hour and the history depend on it")
    catalog = task.dependencies.read_ads()
    catalog_rows = {str(cells.word(ad.get(AD_ID))): ad for ad in catalog.ads} if catalog else {}
    task.row_counts.catalog = catalog.version if catalog else None
    for chunk in reader.chunks(ROWS_PER_CHUNK):
        _score_chunk(bundle, task, chunk, catalog_rows)
    task.row_counts.check(task.max_reject_share)


@dataclass(frozen=True)
class _Rows:
    """N rows of a chunk.

    columns      (N,) cells by column name
    lines        (N,) their line numbers within the chunk
    moments      (N,) milliseconds, `MISSING_TIME` where missing or not valid
    faults       the first fault of each row that has one, by row
    """

    columns: dict[str, Sequence[Any]]
    lines: NDArray[np.int64]
    users: list[str | None]
    ads: list[str | None]
    moments: NDArray[np.int64]
    faults: dict[int, RowFault]

    def __len__(self) -> int:
        return len(self.lines)


def _score_chunk(bundle: Bundle, task: ScoringTask, chunk: Chunk, catalog: AdRows) -> None:
    """Write ``{"row": from 0, "user_id", "ad_id", "probability", "pctr", …}``; `probability` is the model's primary rate.

    Columns of the ads come from the file, else from the catalog. Users' events are read from state. Counts of their earlier
    impressions are read from state for candidates only, because state has them as of now, or from a log with moments.
    """
    counts, keep_all = task.row_counts, task.on_bad_row == "missing"
    rows = _parse_rows(chunk, bundle, counts.as_of, keep_all=keep_all)
    rates, bad_cells = predict_rates(bundle, _columns(bundle, task, rows, catalog), len(rows))
    cell_faults = [fault._replace(column=fault.column.removeprefix(AD_PREFIX)) for fault in bad_cells]
    faults = first_faults([*rows.faults.values(), *cell_faults])
    used = np.ones(len(rows), dtype=bool)
    if not keep_all:
        used[list(faults)] = False
    named = {name: np.round(values, 7).tolist() for name, values in rates.by_name().items()}
    named = {"probability": next(iter(named.values()))} | named
    lines = [
        {"row": counts.rows_in + int(rows.lines[n]), "user_id": rows.users[n], "ad_id": rows.ads[n]}
        | {name: values[n] for name, values in named.items()}
        for n in np.flatnonzero(used).tolist()
    ]
    task.write(lines)
    if keep_all:
        counts.bad_cells += len(bad_cells) + len(rows.faults)
    else:
        reject_rows(task, chunk, faults.values())
    counts.rows_in += len(chunk) + len(chunk.rejects)
    counts.rows_used += len(lines)


def _parse_rows(chunk: Chunk, bundle: Bundle, as_of: int | None, *, keep_all: bool) -> _Rows:
    """The rows of a chunk.

    as_of      moment of all rows where the file has no timestamps
    keep_all   lines that cannot be parsed become rows without cells
    """
    lines = positions(chunk)
    columns: dict[str, Sequence[Any]] = dict(chunk.columns)
    if keep_all:
        count = len(chunk) + len(chunk.rejects)
        columns = {name: spread(content, lines, count) for name, content in columns.items()}
        lines = np.arange(count)
    if TIMESTAMP in columns:
        moments, _ = cells.timestamps(columns[TIMESTAMP], bundle.encoder.zone)
    else:
        moments = np.full(len(lines), as_of, dtype=np.int64)
    users, ads = cells.words(columns[USER_ID]), cells.words(columns[AD_ID])
    faults: dict[int, RowFault] = {}
    for n in range(len(lines)):
        if users[n] is None:
            faults[n] = RowFault(n, USER_ID, "expected an id")
        elif ads[n] is None:
            faults[n] = RowFault(n, AD_ID, "expected an id")
        elif moments[n] == MISSING_TIME:
            faults[n] = RowFault(n, TIMESTAMP, "expected a date or time")
    return _Rows(columns, lines, users, ads, moments, faults)


def _columns(bundle: Bundle, task: ScoringTask, rows: _Rows, catalog: AdRows) -> dict[str, Any]:
    """Feature columns of the rows. A row without a moment is scored at the newest one of the chunk."""
    users = Vocabulary()
    user = np.array([users.code(word or _NO_USER) for word in rows.users], dtype=np.int64)
    newest = task.as_of
    if newest is None:
        newest = int(rows.moments[rows.moments != MISSING_TIME].max(initial=0))
    moment = np.where(rows.moments == MISSING_TIME, newest, rows.moments)
    # Each row is an ad of its own: two rows of one ad may differ, and a file seldom repeats an ad often.
    ads = AdFeatures.from_table(_ad_columns(rows, catalog), len(rows), bundle.manifest.get("lists"), bundle.encoder.zone)
    impressions = ImpressionRows(
        user,
        np.arange(len(rows)),
        moment,
        _exposure(task, rows, moment),
        *(cells.words(rows.columns.get(name, [None] * len(rows))) for name in ("placement", "channel")),
    )
    events = _events(task, users.words).with_categories(bundle.category_of_item)
    return impression_columns(impressions, events, {}, ads, history_window(bundle), bundle.encoder.zone)


def _ad_columns(rows: _Rows, catalog: AdRows) -> dict[str, Sequence[Any]]:
    """Columns of the ads: cells of the file, else of the catalog. The channel of an impression is not the ad's."""
    columns: dict[str, Sequence[Any]] = {
        name: content for name, content in rows.columns.items() if name == AD_ID or name not in IMPRESSIONS.columns
    }
    catalog_rows = [catalog.get(ad or "", {}) for ad in rows.ads]
    for name in dict.fromkeys(name for ad in catalog.values() for name in ad if name != AD_ID):
        content = columns.get(name, [None] * len(rows))
        columns[name] = [
            ad.get(name) if cells.is_missing(cell) else cell for ad, cell in zip(catalog_rows, content, strict=True)
        ]
    return columns


def _exposure(task: ScoringTask, rows: _Rows, moment: NDArray[np.int64]) -> Exposure:
    """Counts of the users' earlier impressions, by row."""
    read = task.dependencies.read_exposures
    if task.dependencies.exposures_before is not None:
        return task.dependencies.exposures_before(rows.users, rows.ads, moment)
    exposure = Exposure.none(len(rows))
    if read is None or TIMESTAMP in rows.columns:
        return exposure
    rows_of_user: dict[str, list[int]] = defaultdict(list)
    for n, (user, ad) in enumerate(zip(rows.users, rows.ads, strict=True)):
        if user is not None and ad is not None:
            rows_of_user[user].append(n)
    columns = {field.name: getattr(exposure, field.name).copy() for field in fields(exposure)}
    of_users = map_parallel(
        lambda item: (item[1], read(item[0], [str(rows.ads[n]) for n in item[1]])), rows_of_user.items(), _READERS
    )
    for places, counts in of_users:
        for name, content in columns.items():
            content[places] = getattr(counts, name)
    return Exposure(**columns)


def _events(task: ScoringTask, users: list[str]) -> Events:
    """The users' events in state, in the order of `users`."""
    read = task.dependencies.read_events
    if read is None:
        return empty_events(users)
    stored = dict(map_parallel(lambda user: (user, read(user)), [user for user in users if user != _NO_USER], _READERS))
    parts = [stored[user] if user in stored else empty_events([user]) for user in users]
    joined = concatenate(parts) if parts else empty_events(users)
    code = Vocabulary(users).codes(joined.users)
    return replace(joined, user=code[joined.user] if len(joined) else joined.user, users=users)
