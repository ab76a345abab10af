"""How each column of an unknown table is used: as a number, a date, a category, or not at all. Decided on training rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from personalization.core import cells
from personalization.core.encoder import Column
from personalization.core.schema import USER_ID, canonical_column, snake_case

PARSES: Final = 0.95  # of the known cells, for a column to be numbers or dates; the rest counts as missing
MAX_MISSING: Final = 0.99  # a column with a larger missing share is dropped
LISTED_WORDS: Final = 200  # more different words than this are hashed, never stored
UNIQUE: Final = 0.95  # different words per known cell from which a text is an id
REPEATED: Final = 0.5  # least share of rows whose word occurs twice; with less, new rows have other words
ROWS_PER_BUCKET: Final = 8

_ID_NAME: Final = re.compile(r"(^|_)(id|ids|uuid|guid|rowid|index|idx|rownames|row_number|row_no)$|(编号|序号)$")
_TIME_NAME: Final = re.compile(r"(^|_)(date|time|datetime|timestamp|ts|at|day)$|(日期|时间)$")
_LEADING_ZERO: Final = re.compile(r"0\d+$")
_DATE_LOOK: Final = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}( .*)?$")


@dataclass(frozen=True, slots=True)
class ColumnDecision:
    """How a column is used.

    action     numeric | date | categorical | hashed | key | dropped
    reason     in words, for the report
    column     how the encoder reads it; None where it is not used
    missing    share of missing cells; `bad` is the number of cells that count as missing because they do not parse
    distinct   number of different values
    warning    for the user, where the column was probably meant otherwise
    """

    name: str
    action: str
    reason: str
    column: Column | None = None
    missing: float = 0.0
    bad: int = 0
    distinct: int = 0
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """As bundle.json holds it."""
        return {
            "column": self.name,
            "action": self.action,
            "reason": self.reason,
            "missing": round(self.missing, 6),
            "distinct": self.distinct,
        }


def decide_columns(
    table: Mapping[str, Sequence[Any]], rows: int, *, salt: str, max_missing: float = MAX_MISSING
) -> list[ColumnDecision]:
    """One decision for each column of `table` (training rows, without the label), in its order.

    salt   hexadecimal key of the hash of columns with too many words to list
    """
    return [_decide(name, content, rows, salt, max_missing) for name, content in table.items()]


def is_key(name: str) -> bool:
    """Whether the column names a user, by any of the names that are accepted for it."""
    return canonical_column(name) == USER_ID


def _decide(name: str, content: Sequence[Any], rows: int, salt: str, max_missing: float) -> ColumnDecision:
    if is_key(name):
        return ColumnDecision(name, "key", "names the user, which must not be a feature")
    words = cells.words(content)
    known = [word for word in words if word is not None]
    counts = Counter(known)
    missing = 1.0 - len(known) / rows if rows else 1.0
    draft = ColumnDecision(name, "dropped", "", missing=missing, distinct=len(counts))
    if not known:
        return replace(draft, reason="all cells are missing")
    if missing > max_missing:
        return replace(draft, reason=f"{missing:.1%} of the cells are missing")
    if len(counts) == 1 and len(known) == rows:
        return replace(draft, reason="the same value in every row")
    if len(counts) == 1:
        return _listed(draft, counts, f"one word, or missing in {missing:.0%} of the rows", least=1)
    numbers, bad_number = cells.numbers(content)
    coded = sum(_LEADING_ZERO.match(word) is not None for word in known) > 0.2 * len(known)
    truth = any(isinstance(cell, bool | np.bool_) for cell in content)
    if len(bad_number) <= (1 - PARSES) * len(known) and not coded and not truth:
        return _number(draft, numbers, bad_number, counts, known, rows, salt)
    return _text(draft, content, counts, known, rows, salt)


def _number(
    draft: ColumnDecision, numbers: Any, bad: list[int], counts: Counter[str], known: list[str], rows: int, salt: str
) -> ColumnDecision:
    name = draft.name
    values = numbers[~np.isnan(numbers)]
    whole = bool(np.all(values == np.round(values)))
    different = len(np.unique(values))
    id_name = _ID_NAME.search(snake_case(name)) is not None
    steps = np.diff(numbers)
    # Training rows are a sample in the table's order, so a row number has gaps there.
    dense = whole and different == rows > 2 and np.ptp(values) < 2 * rows
    if dense and (np.all(steps > 0) or np.all(steps < 0)):
        return replace(draft, reason="counts the rows")
    if whole and id_name and len(values) > 2 and different >= UNIQUE * len(values):
        return replace(draft, reason="an id: another number in almost every row")
    if whole and id_name and different > 20:
        return _words(draft, counts, known, rows, salt, "numbers that name things")
    if _TIME_NAME.search(snake_case(name)) and len(values) and values.min() >= 5e8:
        _, not_times = cells.timestamps([float(v) for v in values[:10_000]])
        if not not_times and different > 2:
            return replace(draft, action="date", reason="times as numbers", column=Column(name, "date"), bad=len(bad))
    reason = "numbers" if not bad else f"numbers; {len(bad)} other cells count as missing"
    return replace(draft, action="numeric", reason=reason, column=Column(name, "numeric"), bad=len(bad))


def _text(
    draft: ColumnDecision, content: Sequence[Any], counts: Counter[str], known: list[str], rows: int, salt: str
) -> ColumnDecision:
    moments, bad = cells.timestamps(content)
    _, words = cells.numbers(known)  # digits alone are read as unix times, which only a column's name can make believable
    if len(words) > 0.5 * len(known) and len(bad) <= (1 - PARSES) * len(known) and len(np.unique(moments)) > 2:
        reason = "dates" if not bad else f"dates; {len(bad)} other cells count as missing"
        return replace(draft, action="date", reason=reason, column=Column(draft.name, "date"), bad=len(bad))
    decision = _words(draft, counts, known, rows, salt, "words")
    if sum(_DATE_LOOK.match(word) is not None for word in known[:1000]) > 0.9 * min(len(known), 1000):
        return replace(decision, warning="looks like dates in a form that is not read; expected 2024-01-31 or RFC 3339")
    return decision


def _words(draft: ColumnDecision, counts: Counter[str], known: list[str], rows: int, salt: str, what: str) -> ColumnDecision:
    repeated = sum(count for count in counts.values() if count > 1)
    if len(counts) >= UNIQUE * len(known) and len(known) > 2:
        return replace(draft, reason="an id or free text: another word in almost every row")
    if repeated < REPEATED * len(known):
        return replace(draft, reason=f"{len(counts)} different words, most of them in one row only")
    if len(counts) <= LISTED_WORDS:
        return _listed(draft, counts, f"{what}, {len(counts)} different")
    fitting = max(64, rows // ROWS_PER_BUCKET)
    buckets = 1 << min(12, int(min(fitting, 2 * len(counts))).bit_length() - 1)
    column = Column(draft.name, "hashed", buckets=buckets, salt=salt)
    reason = f"{what}, {len(counts)} different: hashed to {buckets} buckets, never stored"
    return replace(draft, action="hashed", reason=reason, column=column)


def _listed(draft: ColumnDecision, counts: Counter[str], reason: str, least: int = 2) -> ColumnDecision:
    # A word met once teaches nothing, and may be somebody's name; without it "unknown" is trained on.
    kept = sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))
    left = len(counts) - len(kept)
    reason += f"; {left} met once count as unknown" if left else ""
    return replace(draft, action="categorical", reason=reason, column=Column(draft.name, "categorical", tuple(kept)))
