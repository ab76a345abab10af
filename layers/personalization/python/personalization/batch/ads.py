"""Files for ads: impressions, or candidates for them → what the model says of each row; a file of ads → the catalogue.

A candidate is a user and an ad without a moment: it is asked for the moment at which the file was dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.ads.exposure import Exposure
from personalization.ads.features import AD_PREFIX, Ads
from personalization.ads.impression_features import Shown, describe_rows
from personalization.ads.predict import chances_of, told
from personalization.batch.ad_catalog import store_ads
from personalization.batch.tables import positions, spread
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.categorical import Vocabulary
from personalization.core.errors import InvalidInput
from personalization.core.events import Events, concatenate, empty_events
from personalization.core.parallel import map_parallel
from personalization.core.schema import AD_ID, ADS, IMPRESSIONS, TIMESTAMP, USER_ID
from personalization.core.time import MISSING_TIME
from personalization.data import Chunk, open_table
from personalization.profiles.predict import history_window

CANDIDATES: Final = "candidates"
ROWS_AT_ONCE: Final = 8_192
_READERS: Final = 8
_LINE: Final = orjson.OPT_APPEND_NEWLINE


def score(bundle: Bundle, task: ScoringTask) -> None:
    """By the columns of the file: one line for each impression or candidate, or one for each ad that the catalogue took."""
    reader = open_table(task.path, mapping=task.mapping, kind=task.kind)
    pairs = {USER_ID, AD_ID} <= set(reader.columns)
    if reader.kind == ADS.kind and (task.kind is not None or not pairs):
        store_ads(bundle, task)
        return
    if not pairs:
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
    catalogue = task.dependencies.read_ads()
    known = {str(cells.word(ad.get(AD_ID))): ad for ad in catalogue.ads} if catalogue else {}
    task.row_counts.catalogue = catalogue.version if catalogue else None
    for chunk in reader.chunks(ROWS_AT_ONCE):
        _rows(bundle, task, chunk, known)
    task.row_counts.check(task.max_reject_share)


@dataclass(frozen=True)
class _Rows:
    """Cells of a chunk's rows, their numbers among all of its lines, and what is wrong with which."""

    columns: dict[str, Sequence[Any]]
    numbers: NDArray[np.int64]
    users: list[str | None]
    ads: list[str | None]
    moments: NDArray[np.int64]  # `MISSING_TIME` where one is missing or bad
    faults: dict[int, tuple[str, str]]

    def __len__(self) -> int:
        return len(self.numbers)


def _rows(bundle: Bundle, task: ScoringTask, chunk: Chunk, known: Mapping[str, Mapping[str, Any]]) -> None:
    """``{"row": from 0, "user_id", "ad_id", "probability", "pctr", …}``; `probability` is the first chance that follows it.

    What the ads are is told by columns of the ads table that the file has beside its own, else by the catalogue. What users did
    before is read from state, where there is one; what they had to do with ads before is known of candidates alone, for state
    has it as of now, or from a log that says when.
    """
    row_counts, keep = task.row_counts, task.on_bad_row == "missing"
    rows = _understood(chunk, bundle, row_counts.as_of, everything=keep)
    chances, bad_cells = chances_of(bundle, _described(bundle, task, rows, known), len(rows))
    faults = {cell.row: (cell.column.removeprefix(AD_PREFIX), cell.reason) for cell in reversed(bad_cells)} | rows.faults
    good = np.ones(len(rows), dtype=bool)
    if not keep:
        good[list(faults)] = False
    answers = {name: np.round(values, 7).tolist() for name, values in told(chances).items()}
    first = next(iter(answers.values()))
    lines = [
        orjson.dumps(
            {
                "row": row_counts.rows_in + int(rows.numbers[n]),
                "user_id": rows.users[n],
                "ad_id": rows.ads[n],
                "probability": first[n],
            }
            | {name: values[n] for name, values in answers.items()},
            option=_LINE,
        )
        for n in np.flatnonzero(good).tolist()
    ]
    task.output.lines(b"".join(lines), len(lines))
    if keep:
        row_counts.bad_cells += len(bad_cells) + len(rows.faults)
    else:
        task.reject(chunk.rejects + [chunk.reject(n, *fault) for n, fault in faults.items()])
    row_counts.rows_in += len(chunk) + len(chunk.rejects)
    row_counts.rows_used += len(lines)


def _understood(chunk: Chunk, bundle: Bundle, as_of: int | None, *, everything: bool) -> _Rows:
    """The chunk's rows, asked for `as_of` where the file has no moments.

    everything   rejected lines stand among them as rows without cells
    """
    numbers = positions(chunk)
    columns: dict[str, Sequence[Any]] = dict(chunk.columns)
    if everything:
        count = len(chunk) + len(chunk.rejects)
        columns = {name: spread(content, numbers, count) for name, content in columns.items()}
        numbers = np.arange(count)
    if TIMESTAMP in columns:
        moments, _ = cells.timestamps(columns[TIMESTAMP], bundle.encoder.zone)
    else:
        moments = np.full(len(numbers), as_of, dtype=np.int64)
    users, ads = cells.words(columns[USER_ID]), cells.words(columns[AD_ID])
    faults: dict[int, tuple[str, str]] = {}
    for n in range(len(numbers)):
        if users[n] is None:
            faults[n] = (USER_ID, "expected an id")
        elif ads[n] is None:
            faults[n] = (AD_ID, "expected an id")
        elif moments[n] == MISSING_TIME:
            faults[n] = (TIMESTAMP, "expected a date or time")
    return _Rows(columns, numbers, users, ads, moments, faults)


def _described(bundle: Bundle, task: ScoringTask, rows: _Rows, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    people = Vocabulary()
    user = np.array([people.code(word or "\0") for word in rows.users], dtype=np.int64)
    stated = rows.moments[rows.moments != MISSING_TIME]
    newest = task.as_of if task.as_of is not None else int(stated.max(initial=0))
    moment = np.where(rows.moments == MISSING_TIME, newest, rows.moments)
    # Each row says what its ad is: two rows of one ad may differ, and a file seldom holds an ad so often that it matters.
    ads = Ads.from_table(_ad_columns(rows, known), len(rows), bundle.manifest.get("lists"), bundle.encoder.zone)
    empty = [None] * len(rows)
    shown = Shown(
        user,
        np.arange(len(rows)),
        moment,
        _exposure(task, rows, moment),
        cells.words(rows.columns.get("placement", empty)),
        cells.words(rows.columns.get("channel", empty)),
    )
    events = _events(task, people.words).with_categories(bundle.category_of_item)
    return describe_rows(shown, events, {}, ads, history_window(bundle), bundle.encoder.zone)


def _ad_columns(rows: _Rows, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """What the file says of the ads, and where it says nothing, the catalogue. A log's `channel` is its own, not the ad's."""
    columns: dict[str, Sequence[Any]] = {
        name: content for name, content in rows.columns.items() if name == AD_ID or name not in IMPRESSIONS.columns
    }
    found = [known.get(ad or "", {}) for ad in rows.ads]
    for name in dict.fromkeys(name for ad in known.values() for name in ad):
        if name not in columns:
            columns[name] = [ad.get(name) for ad in found]
        elif name != AD_ID:
            columns[name] = [
                ad.get(name) if cells.is_missing(cell) else cell for ad, cell in zip(found, columns[name], strict=True)
            ]
    return columns


def _exposure(task: ScoringTask, rows: _Rows, moment: NDArray[np.int64]) -> Exposure:
    if task.dependencies.exposures_before is not None:
        return task.dependencies.exposures_before(rows.users, rows.ads, moment)
    exposure, read = Exposure.none(len(rows)), task.dependencies.read_exposures
    if read is None or TIMESTAMP in rows.columns:
        return exposure
    of_user: dict[str, list[int]] = {}
    for n, (user, ad) in enumerate(zip(rows.users, rows.ads, strict=True)):
        if user is not None and ad is not None:
            of_user.setdefault(user, []).append(n)
    parts = map_parallel(lambda one: (one[1], read(one[0], [str(rows.ads[n]) for n in one[1]])), of_user.items(), _READERS)
    columns = {name: content.copy() for name, content in vars(exposure).items()}
    for places, known in parts:
        for name, content in columns.items():
            content[places] = getattr(known, name)
    return Exposure(**columns)


def _events(task: ScoringTask, users: list[str]) -> Events:
    """What state knows of these users."""
    read = task.dependencies.read_events
    if read is None:
        return empty_events(users)
    found = dict(map_parallel(lambda user: (user, read(user)), [user for user in users if user != "\0"], _READERS))
    parts = [found[user] if user in found else empty_events([user]) for user in users]
    joined = concatenate(parts) if parts else empty_events(users)
    code = Vocabulary(users).codes(joined.users)
    return replace(joined, user=code[joined.user] if len(joined) else joined.user, users=users)
