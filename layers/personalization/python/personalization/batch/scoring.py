"""Score one file: the batch handler's own code, without a queue or a bucket. `python -m training predict` calls it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from personalization.batch import ads, flat_tables, profiles, recommendations
from personalization.batch.row_counts import RowCounts
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core.errors import BundleInvalid, InvalidInput
from personalization.core.schema import ADS, FLAT, IMPRESSIONS, INTERACTIONS, ITEMS, USERS, job_of

# Kinds of files that a job takes beside the kind of its bundle.
OTHER_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "recommendations": frozenset({ITEMS.kind, USERS.kind}),
    "ads": frozenset({ADS.kind}),
}


def score_file(bundle: Bundle, task: ScoringTask) -> RowCounts:
    """Score a file: one line for each row of a flat table, one for each user of interactions.

    Raises `InvalidInput` for a file that this model cannot score, `TooManyRejects` where too many of its rows are bad,
    and the errors of the stores in `task.dependencies`.
    """
    job = job_of(bundle.name)
    if task.kind is not None and task.kind != bundle.kind and task.kind not in OTHER_KINDS.get(bundle.name, ()):
        raise InvalidInput(f"expected a table of {bundle.kind}, which the model {bundle.name} takes, received {task.kind}")
    if bundle.kind == FLAT:
        flat_tables.score(bundle, task)
    elif (job, bundle.kind) == ("profiles", INTERACTIONS.kind):
        profiles.score(bundle, task)
    elif (job, bundle.kind) == ("recommendations", INTERACTIONS.kind):
        recommendations.score(bundle, task)
    elif (job, bundle.kind) == ("ads", IMPRESSIONS.kind):
        ads.score(bundle, task)
    else:
        raise BundleInvalid(f"no batch job scores {bundle.kind} with a model of {job}")
    return task.row_counts
