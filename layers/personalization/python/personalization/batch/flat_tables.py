"""Files that are a flat feature table: one probability for each row, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.batch.rejects import first_faults, reject_rows
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import ROWS_PER_RUN, Bundle
from personalization.core.errors import BundleInvalid, InvalidInput
from personalization.core.schema import FLAT
from personalization.data import Chunk, open_table
from personalization.tabular import predict

ROWS_PER_CHUNK: Final = 2 * ROWS_PER_RUN


def score(bundle: Bundle, task: ScoringTask) -> None:
    """One line ``{"row": from 0, "probability"}`` for each used row; row numbers count rejected rows too.

    Where bad cells count as missing, every row is used: all cells of a line that cannot be parsed are missing.

    Raises `InvalidInput` where the file has no column of the model, `TooManyRejects`.
    """
    names = [column.name for column in bundle.encoder.columns]
    reader = open_table(task.path, mapping=task.mapping, canonical=False, only=frozenset(names))
    if names and not reader.columns:
        raise InvalidInput(f"expected columns of the model {bundle.name}, received none of: {', '.join(names[:20])}")
    task.row_counts.kind = FLAT
    task.row_counts.missing_columns = [name for name in names if name not in reader.columns]
    for chunk in reader.chunks(ROWS_PER_CHUNK):
        if task.on_bad_row == "missing":
            _score_every_row(bundle, task, chunk)
        else:
            _score_valid_rows(bundle, task, chunk)
    task.row_counts.check(task.max_reject_share)


def _score_valid_rows(bundle: Bundle, task: ScoringTask, chunk: Chunk) -> None:
    counts = task.row_counts
    scored = predict.predict(bundle, chunk.columns, len(chunk))
    bad = first_faults(scored.bad_cells)
    valid = np.ones(len(chunk), dtype=bool)
    valid[list(bad)] = False
    numbers = counts.rows_in + positions(chunk)
    used = int(valid.sum())
    task.output.lines(probability_lines(numbers[valid], scored.probability[valid]), used)
    reject_rows(task, chunk, bad.values())
    counts.rows_in += len(chunk) + len(chunk.rejects)
    counts.rows_used += used


def _score_every_row(bundle: Bundle, task: ScoringTask, chunk: Chunk) -> None:
    counts = task.row_counts
    rows = len(chunk) + len(chunk.rejects)
    columns = {name: spread(cells, positions(chunk), rows) for name, cells in chunk.columns.items()}
    scored = predict.predict(bundle, columns, rows)
    task.output.lines(probability_lines(counts.rows_in + np.arange(rows), scored.probability), rows)
    counts.bad_cells += len(scored.bad_cells) + len(chunk.rejects)
    counts.rows_in += rows
    counts.rows_used += rows


def positions(chunk: Chunk) -> NDArray[np.int64]:
    """(rows,) position of each row among the chunk's rows and rejected lines."""
    before = np.searchsorted([reject.line for reject in chunk.rejects], chunk.lines)
    return np.arange(len(chunk)) + before


def spread(cells: Sequence[Any], positions: NDArray[np.int64], rows: int) -> Sequence[Any]:
    """`rows` cells: each cell at its position, `None` at the positions of rejected lines."""
    if len(cells) == rows:
        return cells
    out: list[Any] = [None] * rows
    for position, cell in zip(positions.tolist(), cells, strict=True):
        out[position] = cell
    return out


def probability_lines(rows: NDArray[np.int64], probability: NDArray[np.float64]) -> bytes:
    """``{"row":0,"probability":0.25}`` for each row, with the shortest text that gives the same float32.

    Raises `BundleInvalid` where a probability is not finite.
    """
    if not len(rows):
        return b""
    if not np.isfinite(probability).all():
        raise BundleInvalid("the model returned a probability that is not finite")
    pieces = [b'}\n{"row":', b"", b',"probability":', b""] * len(rows)
    pieces[0] = b'{"row":'
    pieces[1::4] = _texts(rows)
    pieces[3::4] = _texts(probability.astype(np.float32))
    return b"".join(pieces) + b"}\n"


def _texts(values: NDArray[Any]) -> list[bytes]:
    # orjson writes the shortest text that gives the same float32.
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
