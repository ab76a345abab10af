"""Files for recommendations: interactions or users → a list for each user; items → a change of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from personalization.batch.task import ScoringTask
from personalization.batch.user_events import events_by_user
from personalization.bundles.bundle import Bundle
from personalization.catalog import empty_catalog, parse_items
from personalization.core import cells
from personalization.core.errors import InvalidInput
from personalization.core.events import Events, concatenate, empty_events
from personalization.core.schema import INTERACTIONS, ITEM_ID, ITEMS, MAX_ID_LENGTH, USER_ID, USERS
from personalization.data import Chunk, open_table
from personalization.features import visible
from personalization.recommendations import InteractionHistory, from_events, from_items
from personalization.recommendations.recommend_batch import recommend_batch
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog

HISTORY: Final = "history"
_USERS_AT_ONCE: Final = 2_048
_LINE: Final = orjson.OPT_APPEND_NEWLINE
_NO_ID: Final = f"expected an id of at most {MAX_ID_LENGTH} characters"


def score(bundle: Bundle, task: ScoringTask) -> None:
    """By the kind of the file: one line for each user, or one for each item that the catalogue took."""
    reader = open_table(task.path, mapping=task.mapping, kind=task.kind)
    kind = reader.kind
    if kind == ITEMS.kind and USER_ID in reader.columns and task.kind is None:
        kind = INTERACTIONS.kind  # which then says what it lacks; such rows are nobody's catalogue
    if kind == ITEMS.kind:
        _store(bundle, task)
        return
    if kind not in (INTERACTIONS.kind, USERS.kind):
        raise InvalidInput(f"expected interactions, users or items, received a file without {USER_ID} and without {ITEM_ID}")
    here = serving_catalog(bundle, task.dependencies.read_catalog())
    task.row_counts.catalogue = here.version
    if kind == USERS.kind:
        _users(here, task)
    else:
        for events in events_by_user(bundle, task):
            task.write(_of_events(here, events, task.row_counts.as_of or 0, task.k))


def _of_events(here: ServingCatalog, events: Events, as_of: int, k: int) -> list[dict[str, Any]]:
    found = recommend_batch(here, _histories(here, events, as_of), k)
    return [{"user_id": user, "items": items} for user, items in zip(events.users, found, strict=True)]


def _histories(here: ServingCatalog, events: Events, as_of: int) -> InteractionHistory:
    known = np.array([here.code_of_item.get(item, -1) for item in events.items], np.int32)
    return from_events(visible(events, as_of), known, as_of, here.recommender.window)


def _users(here: ServingCatalog, task: ScoringTask) -> None:
    """One line for each row, in order: by its history, else by what state knows, else as for somebody new."""
    row_counts = task.row_counts
    reader = open_table(task.path, mapping=task.mapping, kind=USERS.kind, only=frozenset({USER_ID, HISTORY}))
    row_counts.kind = reader.kind
    users: set[str] = set()
    for chunk in reader.chunks(_USERS_AT_ONCE):
        ids = cells.words(chunk.columns.get(USER_ID, [None] * len(chunk)))
        told = [_history(cell) for cell in chunk.columns.get(HISTORY, [None] * len(chunk))]
        bad = {row: (USER_ID, _NO_ID) for row, user in enumerate(ids) if not user or len(user) > MAX_ID_LENGTH}
        bad |= {row: (HISTORY, "expected a list of item ids") for row, items in enumerate(told) if items is _BAD}
        keep = [row for row in range(len(chunk)) if task.on_bad_row == "missing" or row not in bad]
        found = _of_rows(here, task, [ids[row] for row in keep], [told[row] for row in keep])
        lines = [{"user_id": ids[row], "items": items} for row, items in zip(keep, found, strict=True)]
        task.write(lines)
        rejects = [chunk.reject(row, *bad[row]) for row in bad if row not in set(keep)]
        task.reject(chunk.rejects + rejects)
        row_counts.bad_cells += len(bad) - len(rejects)
        row_counts.rows_in += len(chunk) + len(chunk.rejects)
        row_counts.rows_used += len(keep)
        users |= {user for row in keep if (user := ids[row])}
    row_counts.users = len(users)
    row_counts.check(task.max_reject_share)


def _of_rows(
    here: ServingCatalog, task: ScoringTask, users: Sequence[str | None], told: Sequence[list[str] | None]
) -> list[list[dict[str, Any]]]:
    """Users with a history at the pace of the training data; the others at their own, which state knows."""
    window = here.recommender.window.max_events
    found: list[list[dict[str, Any]]] = [[] for _ in users]
    with_history = [row for row, items in enumerate(told) if items is not None]
    histories = from_items([here.codes(told[row] or [])[0] for row in with_history], here.recommender.pace, window)
    for row, items in zip(with_history, recommend_batch(here, histories, task.k), strict=True):
        found[row] = items
    others = [row for row, items in enumerate(told) if items is None]
    if not others:
        return found
    read = task.dependencies.read_events
    parts = [read(user) if read and (user := users[row]) else empty_events() for row in others]
    # Users may come twice, or have no id: their places are their names here.
    events = concatenate([_named(part, str(place)) for place, part in enumerate(parts)])
    newest = int(events.timestamp.max(initial=0)) if task.as_of is None else task.as_of
    task.row_counts.as_of = max(newest, task.row_counts.as_of or 0)
    for row, items in zip(others, recommend_batch(here, _histories(here, events, newest), task.k), strict=True):
        found[row] = items
    return found


def _named(events: Events, name: str) -> Events:
    return Events(**{**events.__dict__, "users": [name]})


_BAD: Final[list[str]] = []


def _history(cell: Any) -> list[str] | None:
    """Item ids of a list, or of words with | between them; `None` where there is none, `_BAD` for anything else."""
    if isinstance(cell, str):
        cell = [] if cells.is_missing(cell) else cell.split("|")
        return [word for part in cell if (word := cells.word(part))] or None
    if cell is None:
        return None
    if not isinstance(cell, list):
        return _BAD
    return [word for part in cell if (word := cells.word(part))]


def _store(bundle: Bundle, task: ScoringTask) -> None:
    """One line for each row that is used; the catalogue takes all of them at once, or none."""
    if task.dependencies.write_catalog is None:
        raise InvalidInput("a file of items changes the catalogue of a stack; drop it there")
    row_counts = task.row_counts
    reader = open_table(task.path, mapping=task.mapping, kind=ITEMS.kind)
    row_counts.kind = reader.kind
    folded = empty_catalog()
    for chunk in reader.chunks():
        parsed = parse_items(chunk.columns, len(chunk), bundle.encoder.zone)
        first = {fault.row: fault for fault in reversed(parsed.faults)}
        task.reject(chunk.rejects + [chunk.reject(row, fault.column, fault.reason) for row, fault in first.items()])
        folded = folded.with_part(parsed.part)
        used = np.flatnonzero(parsed.used).tolist()
        task.output.lines(_stored(chunk, used, set(parsed.part.removed)), len(used))
        row_counts.rows_in += len(chunk) + len(chunk.rejects)
        row_counts.rows_used += len(used)
    row_counts.check(task.max_reject_share)
    part = folded.as_part()
    if part.ids or part.removed:
        task.dependencies.write_catalog(part)


def _stored(chunk: Chunk, rows: Sequence[int], removed: set[str]) -> bytes:
    ids = cells.words(chunk.columns[ITEM_ID])
    lines = [{"item_id": ids[row], "status": "removed" if ids[row] in removed else "stored"} for row in rows]
    return b"".join(orjson.dumps(line, option=_LINE) for line in lines)
