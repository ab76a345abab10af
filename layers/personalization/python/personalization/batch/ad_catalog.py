"""A file of ads: what the shop runs from now on."""

from __future__ import annotations

from typing import Any, Final

import orjson

from personalization.ads.candidates import Candidates
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.errors import InvalidInput
from personalization.core.schema import AD_ID, ADS
from personalization.data import open_table

_LINE: Final = orjson.OPT_APPEND_NEWLINE


def store_ads(bundle: Bundle, task: ScoringTask) -> None:
    """One line for each ad that is in the catalogue now: the whole file is the catalogue, or it is refused."""
    if task.dependencies.write_ads is None:
        raise InvalidInput("a file of ads changes the catalogue of a stack; drop it there")
    reader = open_table(task.path, mapping=task.mapping, kind=ADS.kind)
    task.row_counts.kind = ADS.kind
    kept: list[dict[str, Any]] = []
    seen: set[str] = set()
    for chunk in reader.chunks():
        faults: dict[int, tuple[str, str]] = {}
        rows = [{name: content[n] for name, content in chunk.columns.items()} for n in range(len(chunk))]
        for n, row in enumerate(rows):
            fault = _fault_of(row, seen, bundle)
            if fault is None:
                kept.append({name: cell for name, cell in row.items() if not cells.is_missing(cell)})
            else:
                faults[n] = fault
        task.reject(chunk.rejects + [chunk.reject(n, *fault) for n, fault in faults.items()])
        task.row_counts.rows_in += len(chunk) + len(chunk.rejects)
        task.row_counts.rows_used += len(chunk) - len(faults)
    task.row_counts.check(task.max_reject_share)
    task.output.lines(b"".join(orjson.dumps({"ad_id": ad[AD_ID]}, option=_LINE) for ad in kept), len(kept))
    task.dependencies.write_ads(kept, task.dropped_at or 0)


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
