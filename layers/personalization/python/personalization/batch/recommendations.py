"""Files for recommendations: interactions or users → a list for each user; items → a change of the item catalog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from personalization.batch.rejects import reject_rows
from personalization.batch.task import ScoringTask
from personalization.batch.user_events import events_by_user
from personalization.bundles.bundle import Bundle
from personalization.catalog import empty_catalog, parse_items
from personalization.core import cells
from personalization.core.errors import InvalidInput, RowFault
from personalization.core.events import Events, concatenate, empty_events
from personalization.core.schema import INTERACTIONS, ITEM_ID, ITEMS, MAX_ID_LENGTH, USER_ID, USERS
from personalization.data import Chunk, open_table
from personalization.features import events_known_at
from personalization.recommendations.history import InteractionHistory, from_events, from_items
from personalization.recommendations.recommend import recommend_batch
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog

HISTORY: Final = "history"
_USERS_AT_ONCE: Final = 2_048
_LINE: Final = orjson.OPT_APPEND_NEWLINE
_NO_ID: Final = f"expected an id of at most {MAX_ID_LENGTH} characters"


def score(bundle: Bundle, task: ScoringTask) -> None:
    """Write one line for each user of the file or, for a file of items, one for each item that the item catalog stored.

    Raises `InvalidInput` for a table of another kind, and for items where there is no item catalog to change.
    """
    reader = open_table(task.path, mapping=task.mapping, kind=task.kind)
    kind = reader.kind
    if kind == ITEMS.kind and USER_ID in reader.columns and task.kind is None:
        kind = INTERACTIONS.kind  # whose missing columns are then reported
    if kind == ITEMS.kind:
        _store(bundle, task)
        return
    if kind not in (INTERACTIONS.kind, USERS.kind):
        raise InvalidInput(f"expected interactions, users or items, received a file without {USER_ID} and without {ITEM_ID}")
    catalog = serving_catalog(bundle, task.dependencies.read_catalog())
    task.row_counts.catalog = catalog.version
    if kind == USERS.kind:
        _users(catalog, task)
    else:
        for events in events_by_user(bundle, task):
            lists = recommend_batch(catalog, _histories(catalog, events, task.row_counts.as_of or 0), task.k)
            task.write([{"user_id": user, "items": items} for user, items in zip(events.users, lists, strict=True)])


def _histories(catalog: ServingCatalog, events: Events, as_of: int) -> InteractionHistory:
    return from_events(events_known_at(events, as_of), catalog.codes(events.items), as_of, catalog.recommender.window)


def _users(catalog: ServingCatalog, task: ScoringTask) -> None:
    """One line for each row, in order: by its history, else by the events in state, else as for a new user."""
    row_counts = task.row_counts
    reader = open_table(task.path, mapping=task.mapping, kind=USERS.kind, only=frozenset({USER_ID, HISTORY}))
    row_counts.kind = reader.kind
    users: set[str] = set()
    for chunk in reader.chunks(_USERS_AT_ONCE):
        ids = cells.words(chunk.columns.get(USER_ID, [None] * len(chunk)))
        histories = [_history(cell) for cell in chunk.columns.get(HISTORY, [None] * len(chunk))]
        bad = {row: RowFault(row, USER_ID, _NO_ID) for row, user in enumerate(ids) if not user or len(user) > MAX_ID_LENGTH}
        bad |= {
            row: RowFault(row, HISTORY, "expected a list of item ids") for row, items in enumerate(histories) if items is _BAD
        }
        keep = [row for row in range(len(chunk)) if task.on_bad_row == "missing" or row not in bad]
        lists = _lists(catalog, task, [ids[row] for row in keep], [histories[row] for row in keep])
        task.write([{"user_id": ids[row], "items": items} for row, items in zip(keep, lists, strict=True)])
        rejected = bad.keys() - set(keep)
        reject_rows(task, chunk, [bad[row] for row in rejected])
        row_counts.bad_cells += len(bad) - len(rejected)
        row_counts.rows_in += len(chunk) + len(chunk.rejects)
        row_counts.rows_used += len(keep)
        users |= {user for row in keep if (user := ids[row])}
    row_counts.users = len(users)
    row_counts.check(task.max_reject_share)


def _lists(
    catalog: ServingCatalog, task: ScoringTask, users: Sequence[str | None], histories: Sequence[list[str] | None]
) -> list[list[dict[str, Any]]]:
    """Histories of the file get the pace of the training data; users without one have the events that are in state."""
    recommender = catalog.recommender
    lists: list[list[dict[str, Any]]] = [[] for _ in users]
    given = [row for row, items in enumerate(histories) if items is not None]
    codes = [catalog.lookup(histories[row] or [])[0] for row in given]
    in_file = from_items(codes, recommender.pace, recommender.window.max_events)
    for row, items in zip(given, recommend_batch(catalog, in_file, task.k), strict=True):
        lists[row] = items
    others = [row for row, items in enumerate(histories) if items is None]
    if not others:
        return lists
    read = task.dependencies.read_events
    parts = [read(user) if read and (user := users[row]) else empty_events() for row in others]
    # A user may occur twice, or have no id, so each row is named by its number here.
    events = concatenate([_named(part, str(number)) for number, part in enumerate(parts)])
    as_of = int(events.timestamp.max(initial=0)) if task.as_of is None else task.as_of
    task.row_counts.as_of = max(as_of, task.row_counts.as_of or 0)
    for row, items in zip(others, recommend_batch(catalog, _histories(catalog, events, as_of), task.k), strict=True):
        lists[row] = items
    return lists


def _named(events: Events, name: str) -> Events:
    return Events(**{**events.__dict__, "users": [name]})


_BAD: Final[list[str]] = []


def _history(cell: Any) -> list[str] | None:
    """Item ids of a list, or of a text with | between ids; `None` where there is none, `_BAD` for anything else."""
    if isinstance(cell, str):
        cell = [] if cells.is_missing(cell) else cell.split("|")
        return [word for part in cell if (word := cells.word(part))] or None
    if cell is None:
        return None
    if not isinstance(cell, list):
        return _BAD
    return [word for part in cell if (word := cells.word(part))]


def _store(bundle: Bundle, task: ScoringTask) -> None:
    """One line for each row that is used; the item catalog stores all of them at once, or none."""
    if task.dependencies.write_catalog is None:
        raise InvalidInput("expected a running stack, whose item catalog a file of items changes: drop the file into its inbox")
    row_counts = task.row_counts
    reader = open_table(task.path, mapping=task.mapping, kind=ITEMS.kind)
    row_counts.kind = reader.kind
    changes = empty_catalog()
    for chunk in reader.chunks():
        parsed = parse_items(chunk.columns, len(chunk), bundle.encoder.zone)
        reject_rows(task, chunk, parsed.faults)
        changes = changes.with_part(parsed.part)
        used = np.flatnonzero(parsed.used).tolist()
        task.output.lines(_stored(chunk, used, set(parsed.part.removed)), len(used))
        row_counts.rows_in += len(chunk) + len(chunk.rejects)
        row_counts.rows_used += len(used)
    row_counts.check(task.max_reject_share)
    part = changes.as_part()
    if part.ids or part.removed:
        task.dependencies.write_catalog(part)


def _stored(chunk: Chunk, rows: Sequence[int], removed: set[str]) -> bytes:
    ids = cells.words(chunk.columns[ITEM_ID])
    lines = [{"item_id": ids[row], "status": "removed" if ids[row] in removed else "stored"} for row in rows]
    return b"".join(orjson.dumps(line, option=_LINE) for line in lines)
