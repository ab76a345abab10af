"""One file to score: how it is read, and where its lines go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.ads.ad_catalog import AdCatalogue
from personalization.ads.exposure import Exposure
from personalization.batch.output import Output
from personalization.batch.partitions import Partition
from personalization.batch.row_counts import RowCounts
from personalization.catalog import CatalogPart, ItemCatalog
from personalization.core.events import Events
from personalization.data import Reject

Words = Sequence[str | None]
OnBadRow = Literal["reject", "missing"]


@dataclass(frozen=True)
class JobDependencies:
    """What a job can reach beside its file; nothing where it is run from a shell.

    catalogue   the items as they are now
    write_catalog    is given the change that a file of items makes to the catalogue
    read_events   events of a user of whom a file tells nothing but the id
    ads         the ads as they are now
    read_exposures   what a user had to do with some ads until now
    exposures_before   what N users had to do with N ads before N moments, where a log tells
    write_ads      is given the ads of a file, which are all that the shop runs from now on, and when it was dropped
    """

    read_catalog: Callable[[], ItemCatalog | None] = lambda: None
    write_catalog: Callable[[CatalogPart], object] | None = None
    read_events: Callable[[str], Events] | None = None
    read_ads: Callable[[], AdCatalogue | None] = lambda: None
    read_exposures: Callable[[str, Sequence[str]], Exposure] | None = None
    exposures_before: Callable[[Words, Words, NDArray[np.int64]], Exposure] | None = None
    write_ads: Callable[[Sequence[Mapping[str, Any]], int], object] | None = None


@dataclass(frozen=True)
class ScoringTask:
    """What a scorer is given.

    path               the file, on local disk
    output             takes the lines
    row_counts              is filled in on the way
    mapping            our name → their column, or ``=constant``
    on_bad_row         reject a row with a bad cell, or count the cell as missing
    as_of              milliseconds; the newest timestamp of the file where `None`
    dropped_at         milliseconds, `None` where the file was not dropped
    max_reject_share   above which nothing is scored, or what was scored does not count
    on_events          is given all events of some users at a time, once they are scored
    on_profiles        is given the profiles of some users at a time, as they are answered
    temp_dir           for events by user; the system's where `None`
    kind               of table that somebody says this is, `None` where the columns tell
    k                  items for each user, where items are answered
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
    on_events: Callable[[Partition], None] | None = None
    on_profiles: Callable[[list[dict[str, Any]]], None] | None = None
    temp_dir: Path | None = None
    kind: str | None = None
    k: int = 20
    dependencies: JobDependencies = field(default_factory=JobDependencies)

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Account for rejected rows, by line."""
        ordered = sorted(rejects, key=attrgetter("line"))
        self.output.rejects(ordered)
        self.row_counts.reject(ordered)
