"""What happens to a bad row of a dropped file.

1. The reader rejects a line that is not a row: broken quotes, not UTF-8, too long, a wrong number of cells (package `data`).
2. The module of the file's kind finds bad cells. A row with one or more faults is rejected with its first fault.
3. `reject_rows` writes the rejects to ``rejects.jsonl``, ordered by line, and counts them in the manifest.
4. `RowCounts.check` fails the job where the share of rejected rows is above the limit.

`python -m training predict` rejects no row: with ``on_bad_row="missing"`` bad cells count as missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from personalization.batch.task import ScoringTask
from personalization.core.errors import RowFault
from personalization.data import Chunk


def first_faults(faults: Iterable[RowFault]) -> dict[int, RowFault]:
    """The first fault of each row that has one, by row."""
    first: dict[int, RowFault] = {}
    for fault in faults:
        first.setdefault(fault.row, fault)
    return first


def reject_rows(task: ScoringTask, chunk: Chunk, faults: Iterable[RowFault]) -> None:
    """Write and count the lines of a chunk that are not rows, and its rows with a fault."""
    bad = [chunk.reject(*fault) for fault in first_faults(faults).values()]
    rejects = sorted(chunk.rejects + bad, key=attrgetter("line"))
    task.output.rejects(rejects)
    task.row_counts.reject(rejects)
