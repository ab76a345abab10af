"""The batch handler's own code, without a queue or a bucket: a file on disk, a loaded bundle, lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from personalization.batch import ads, profiles, recommendations, tables
from personalization.batch.output import Output
from personalization.batch.partitions import Partition
from personalization.batch.row_counts import RowCounts
from personalization.batch.task import JobDependencies, OnBadRow, ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core.errors import BundleInvalid, InvalidInput
from personalization.core.schema import ADS, FLAT, IMPRESSIONS, INTERACTIONS, ITEMS, JOBS, USERS, job_of

Scorer = Callable[[Bundle, ScoringTask], None]

# By job and kind of table that the bundle takes.
SCORERS: Final[Mapping[tuple[str, str], Scorer]] = {
    **{(job, FLAT): tables.score for job in JOBS},
    ("profiles", INTERACTIONS.kind): profiles.score,
    ("recommendations", INTERACTIONS.kind): recommendations.score,
    ("ads", IMPRESSIONS.kind): ads.score,
}
# Kinds of files besides the bundle's own.
ALSO: Final[Mapping[str, frozenset[str]]] = {
    "recommendations": frozenset({ITEMS.kind, USERS.kind}),
    "ads": frozenset({ADS.kind}),
}


def score_file(
    bundle: Bundle,
    path: Path,
    output: Output,
    *,
    mapping: Mapping[str, str] | None = None,
    kind: str | None = None,
    on_bad_row: OnBadRow = "reject",
    as_of: int | None = None,
    dropped_at: int | None = None,
    max_reject_share: float = 1.0,
    on_events: Callable[[Partition], None] | None = None,
    on_profiles: Callable[[list[dict[str, Any]]], None] | None = None,
    row_counts: RowCounts | None = None,
    temp_dir: Path | None = None,
    k: int = 20,
    dependencies: JobDependencies | None = None,
) -> RowCounts:
    """Score a file: one line for each row of a flat table, one for each user of interactions.

    kind    of table that somebody says this is; the bundle's own where `None`
    row_counts   to fill in, so that the caller has it when an error is raised
    For the rest see `ScoringTask`.

    Raises `InvalidInput` for a file that this model cannot score, `TooManyRejects` where too many of its rows are bad,
    and whatever `on_events` raises.
    """
    also = ALSO.get(bundle.name, frozenset())
    if kind is not None and kind != bundle.kind and kind not in also:
        raise InvalidInput(f"expected a table of {bundle.kind}, which the model {bundle.name} takes, received {kind}")
    scorer = SCORERS.get((job_of(bundle.name), bundle.kind))
    if scorer is None:
        raise BundleInvalid(f"no batch job scores {bundle.kind} with a model of {job_of(bundle.name)}")
    task = ScoringTask(
        path=path,
        output=output,
        row_counts=RowCounts() if row_counts is None else row_counts,
        mapping=mapping,
        on_bad_row=on_bad_row,
        as_of=as_of,
        dropped_at=dropped_at,
        max_reject_share=max_reject_share,
        on_events=on_events,
        on_profiles=on_profiles,
        temp_dir=temp_dir,
        kind=kind,
        k=k,
        dependencies=dependencies or JobDependencies(),
    )
    scorer(bundle, task)
    return task.row_counts
