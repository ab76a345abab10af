"""Files of the ads table: their ads replace the catalog of ads."""

from __future__ import annotations

from typing import Any

from personalization.ads.candidates import Candidates
from personalization.batch.rejects import reject_rows
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.errors import InvalidInput, RowFault
from personalization.core.schema import AD_ID, ADS
from personalization.data import open_table


def store_ads(bundle: Bundle, task: ScoringTask) -> None:
    """Replace the catalog by the file's valid ads, and write one line ``{"ad_id"}`` for each.

    Raises `InvalidInput` where the job has no catalog, `TooManyRejects` where too many ads are not valid; the catalog is then
    unchanged.
    """
    if task.dependencies.write_ads is None:
        raise InvalidInput("a file of ads changes the catalog of a stack; drop it into the stack's inbox")
    reader = open_table(task.path, mapping=task.mapping, kind=ADS.kind)
    task.row_counts.kind = ADS.kind
    ads: list[dict[str, Any]] = []
    ad_ids: set[str] = set()
    for chunk in reader.chunks():
        faults: list[RowFault] = []
        rows = [{name: content[n] for name, content in chunk.columns.items()} for n in range(len(chunk))]
        for n, row in enumerate(rows):
            fault = _first_fault(n, row, ad_ids, bundle)
            if fault is None:
                ads.append({name: cell for name, cell in row.items() if not cells.is_missing(cell)})
            else:
                faults.append(fault)
        reject_rows(task, chunk, faults)
        task.row_counts.rows_in += len(chunk) + len(chunk.rejects)
        task.row_counts.rows_used += len(chunk) - len(faults)
    task.row_counts.check(task.max_reject_share)
    task.write([{"ad_id": ad[AD_ID]} for ad in ads])
    task.dependencies.write_ads(ads, task.dropped_at or 0)


def _first_fault(n: int, row: dict[str, Any], ad_ids: set[str], bundle: Bundle) -> RowFault | None:
    """The first fault of an ad (row `n`), by the rules of the auction. Adds the id of a valid ad to `ad_ids`."""
    try:
        ad_id = Candidates.from_rows([row], bundle.encoder.zone).ad_id[0]
    except InvalidInput as error:
        fault = error.faults[0]
        return RowFault(n, fault.pointer.rpartition("/")[2], fault.detail)
    if ad_id in ad_ids:
        return RowFault(n, AD_ID, "expected each ad once")
    ad_ids.add(ad_id)
    return None
