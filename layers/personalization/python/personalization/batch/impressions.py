"""Files for ads: impressions, or candidates for them → what the model says of each row; a file of ads → the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization import cells
from personalization.advertising.candidates import Candidates
from personalization.advertising.describing import AD_PREFIX, Ads
from personalization.advertising.exposure import Exposure
from personalization.advertising.rows import Shown, describe_rows
from personalization.advertising.scoring import chances_of, told
from personalization.batch.flat import positions, spread
from personalization.batch.task import ScoringTask
from personalization.bundle import Bundle
from personalization.cells import MISSING_TIME
from personalization.errors import InvalidInput
from personalization.events import Events, Interner, concatenate, empty_events
from personalization.profiles import window_of
from personalization.reading import Chunk, open_table
from personalization.schema import AD_ID, ADS, IMPRESSIONS, TIMESTAMP, USER_ID
from personalization.state.parallel import at_once

ROWS_AT_ONCE: Final = 8_192
_READERS: Final = 8
_LINE: Final = orjson.OPT_APPEND_NEWLINE


def score(bundle: Bundle, task: ScoringTask) -> None:
    """By the kind of the file: one line for each impression, or one for each ad that the catalogue took."""
    reader = open_table(task.path, mapping=task.mapping, kind=task.kind)
    if reader.kind == ADS.kind:
        _store(bundle, task)
        return
    missing = [name for name in IMPRESSIONS.required if name not in reader.columns]
    if missing:
        raise InvalidInput(f"expected impressions ({', '.join(IMPRESSIONS.required)}), missing: {', '.join(missing)}")
    task.tally.kind = IMPRESSIONS.kind
    for chunk in reader.chunks(ROWS_AT_ONCE):
        _impressions(bundle, task, chunk)
    task.tally.check(task.max_reject_share)


@dataclass(frozen=True)
class _Rows:
    """Cells of a chunk's rows, their numbers among all of its lines, and what is wrong with which."""

    columns: dict[str, Sequence[Any]]
    numbers: NDArray[np.int64]
    users: list[str | None]
    ads: list[str | None]
    moments: NDArray[np.int64]
    faults: dict[int, tuple[str, str]]

    def __len__(self) -> int:
        return len(self.numbers)


def _impressions(bundle: Bundle, task: ScoringTask, chunk: Chunk) -> None:
    """``{"row": from 0, "ad_id", "probability", "pctr", …}``; `probability` is the first thing that the model answers.

    Columns of the ads table that the file has beside its own tell what the ads are. What users did before is read from state,
    where there is one; what they had to do with ads before counts as nothing.
    """
    tally, keep = task.tally, task.on_bad_row == "missing"
    rows = _understood(chunk, bundle, everything=keep)
    chances, bad_cells = chances_of(bundle, _described(bundle, task, rows), len(rows))
    faults = {cell.row: (cell.column.removeprefix(AD_PREFIX), cell.detail) for cell in reversed(bad_cells)} | rows.faults
    good = np.ones(len(rows), dtype=bool)
    if not keep:
        good[list(faults)] = False
    answers = {name: np.round(values, 7).tolist() for name, values in told(chances).items()}
    first = next(iter(answers.values()))
    lines = [
        orjson.dumps(
            {"row": tally.rows_in + int(rows.numbers[n]), "ad_id": rows.ads[n], "probability": first[n]}
            | {name: values[n] for name, values in answers.items()},
            option=_LINE,
        )
        for n in np.flatnonzero(good).tolist()
    ]
    task.output.lines(b"".join(lines), len(lines))
    if keep:
        tally.bad_cells += len(bad_cells) + len(rows.faults)
    else:
        task.reject(chunk.rejects + [chunk.reject(n, *fault) for n, fault in faults.items()])
    tally.rows_in += len(chunk) + len(chunk.rejects)
    tally.rows_used += len(lines)


def _understood(chunk: Chunk, bundle: Bundle, *, everything: bool) -> _Rows:
    """The chunk's rows; with `everything` the rejected lines stand among them as rows without cells."""
    numbers = positions(chunk)
    columns: dict[str, Sequence[Any]] = dict(chunk.columns)
    if everything:
        count = len(chunk) + len(chunk.rejects)
        columns = {name: spread(content, numbers, count) for name, content in columns.items()}
        numbers = np.arange(count)
    moments, _ = cells.timestamps(columns[TIMESTAMP], bundle.encoder.zone)
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


def _described(bundle: Bundle, task: ScoringTask, rows: _Rows) -> dict[str, Any]:
    people = Interner()
    user = np.array([people.code(word or "\0") for word in rows.users], dtype=np.int64)
    known = rows.moments[rows.moments != MISSING_TIME]
    newest = task.as_of if task.as_of is not None else int(known.max(initial=0))
    moment = np.where(rows.moments == MISSING_TIME, newest, rows.moments)
    # Each row says what its ad is: two rows of one ad may differ, and a file seldom holds an ad so often that it matters.
    ads = Ads.from_table(rows.columns, len(rows), bundle.manifest.get("lists"), bundle.encoder.zone)
    empty = [None] * len(rows)
    shown = Shown(
        user,
        np.arange(len(rows)),
        moment,
        Exposure.none(len(rows)),
        cells.words(rows.columns.get("placement", empty)),
        cells.words(rows.columns.get("channel", empty)),
    )
    events = _events(task, people.words).with_categories(bundle.category_of_item)
    return describe_rows(shown, events, {}, ads, window_of(bundle), bundle.encoder.zone)


def _events(task: ScoringTask, users: list[str]) -> Events:
    """What state knows of these users."""
    read = task.surroundings.read_user
    if read is None:
        return empty_events(users)
    found = dict(at_once(lambda user: (user, read(user)), [user for user in users if user != "\0"], _READERS))
    parts = [found[user] if user in found else empty_events([user]) for user in users]
    joined = concatenate(parts) if parts else empty_events(users)
    code = Interner(users).codes(joined.users)
    return replace(joined, user=code[joined.user] if len(joined) else joined.user, users=users)


def _store(bundle: Bundle, task: ScoringTask) -> None:
    """One line for each ad that is in the catalogue now: the whole file is the catalogue, or it is refused."""
    reader = open_table(task.path, mapping=task.mapping, kind=ADS.kind)
    task.tally.kind = ADS.kind
    kept: list[dict[str, Any]] = []
    seen: set[str] = set()
    for chunk in reader.chunks(ROWS_AT_ONCE):
        faults: dict[int, tuple[str, str]] = {}
        rows = [{name: content[n] for name, content in chunk.columns.items()} for n in range(len(chunk))]
        for n, row in enumerate(rows):
            fault = _fault_of(row, seen, bundle)
            if fault is None:
                kept.append({name: cell for name, cell in row.items() if not cells.is_missing(cell)})
            else:
                faults[n] = fault
        task.reject(chunk.rejects + [chunk.reject(n, *fault) for n, fault in faults.items()])
        task.tally.rows_in += len(chunk) + len(chunk.rejects)
        task.tally.rows_used += len(chunk) - len(faults)
    task.tally.check(task.max_reject_share)
    task.output.lines(b"".join(orjson.dumps({"ad_id": ad[AD_ID]}, option=_LINE) for ad in kept), len(kept))
    if task.surroundings.on_ads is not None:
        task.surroundings.on_ads(kept)


def _fault_of(row: dict[str, Any], seen: set[str], bundle: Bundle) -> tuple[str, str] | None:
    """The first thing that is wrong with an ad, by the rules that hold when it competes."""
    try:
        ad_id = Candidates.from_rows([row], bundle.encoder.zone).ad_id[0]
    except InvalidInput as error:
        fault = error.faults[0]
        return fault.pointer.rpartition("/")[2], fault.detail
    if ad_id in seen:
        return AD_ID, "expected each ad once"
    seen.add(ad_id)
    return None
