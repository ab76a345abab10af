"""What a batch job works with: one file, the stores it may use, and where its lines go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.ads.ad_catalog import AdCatalog
from personalization.ads.exposure import Exposure
from personalization.batch.output import Output
from personalization.batch.partitions import Partition
from personalization.batch.row_counts import RowCounts
from personalization.batch.segment_exports import SegmentExports
from personalization.bundles.bundle import Bundle
from personalization.catalog import CatalogPart, ItemCatalog
from personalization.core.events import Events

Words = Sequence[str | None]
OnBadRow = Literal["reject", "missing"]


@dataclass(frozen=True)
class JobDependencies:
    """The stores that a job may use beside its file. All of them are absent where a file is scored from a shell.

    read_catalog      the newest items, `None` where there are none
    write_catalog     stores the change that a file of items makes
    read_events       (user id) the events of a user
    write_windows     (bundle, partition) stores the events of some users
    read_ads          the newest ads, `None` where there are none
    write_ads         (ads, milliseconds of the drop) replaces the catalog of ads
    read_exposures    (user id, A ad ids) counts of the user's impressions, clicks and conversions until now, A rows
    exposures_before  (N user ids, N ad ids, N moments in milliseconds) the same counts before each moment, N rows
    """

    read_catalog: Callable[[], ItemCatalog | None] = lambda: None
    write_catalog: Callable[[CatalogPart], object] | None = None
    read_events: Callable[[str], Events] | None = None
    write_windows: Callable[[Bundle, Partition], object] | None = None
    read_ads: Callable[[], AdCatalog | None] = lambda: None
    write_ads: Callable[[Sequence[Mapping[str, Any]], int], object] | None = None
    read_exposures: Callable[[str, Sequence[str]], Exposure] | None = None
    exposures_before: Callable[[Words, Words, NDArray[np.int64]], Exposure] | None = None


@dataclass(frozen=True)
class ScoringTask:
    """One file to score.

    path               the file on local disk
    output             takes the lines of the results and of rejects.jsonl
    row_counts         filled in while the file is read; the caller has it also when an error is raised
    mapping            our name → the file's name, or ``=constant``
    on_bad_row         ``reject`` a row with a bad cell, or count the cell as ``missing``
    as_of              milliseconds; `None` takes the newest timestamp of the file
    dropped_at         milliseconds, `None` where the file was not dropped
    max_reject_share   the file fails where a larger share of its rows is rejected
    kind               the kind of table that the file is; `None` where its columns decide
    k                  recommended items for each user
    temp_dir           for partitions of the file; `None` takes the system's directory
    segments           receives the profiles, `None` where segments are not exported
    dependencies       the stores that the job may use
    """

    path: Path
    output: Output
    row_counts: RowCounts = field(default_factory=RowCounts)
    mapping: Mapping[str, str] | None = None
    on_bad_row: OnBadRow = "reject"
    as_of: int | None = None
    dropped_at: int | None = None
    max_reject_share: float = 1.0
    kind: str | None = None
    k: int = 20
    temp_dir: Path | None = None
    segments: SegmentExports | None = None
    dependencies: JobDependencies = field(default_factory=JobDependencies)

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write one JSON line for each mapping."""
        option = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
        self.output.lines(b"".join(orjson.dumps(line, option=option) for line in lines), len(lines))
