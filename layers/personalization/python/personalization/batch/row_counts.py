"""Row counts of a job: each row of the file is counted once, as used or as rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from personalization.core.errors import InvalidInput
from personalization.data import Reject

DUPLICATE: Final = "expected an event_id that no earlier row has"


class TooManyRejects(InvalidInput):
    """The share of rejected rows is above the limit; the job fails and no row counts as scored."""

    code, title = "too-many-rejects", "Too many rows were rejected"


@dataclass
class RowCounts:
    """Counts of one job, filled in while its file is read.

    kind             kind of table that the file is
    rows_in          rows of the file, without header and blank lines; `rows_in = rows_used + rejected`
    rows_used        rows that were scored
    rejected         rows that were not; each has a line in rejects.jsonl
    duplicates       rejected rows whose `event_id` an earlier row has
    suspected        exact copies of an earlier row without an `event_id`; they are used
    returns          refunds and negative quantities; they are used, and netted
    bad_cells        cells that counted as missing, where a bad cell does not reject its row
    missing_columns  columns of the model that a flat table lacks
    reasons          number of rejects by pointer and reason
    users            distinct users of the used rows, `None` for a flat table
    as_of            milliseconds: the moment of the features, `None` for a flat table
    catalog          version of the item or ad catalog that was used, `None` where there was none
    """

    kind: str = ""
    rows_in: int = 0
    rows_used: int = 0
    rejected: int = 0
    duplicates: int = 0
    suspected: int = 0
    returns: int = 0
    users: int | None = None
    as_of: int | None = None
    catalog: str | None = None
    bad_cells: int = 0
    missing_columns: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Count rejected rows and their reasons."""
        self.rejected += len(rejects)
        for reject in rejects:
            cause = reject.reason.partition(", received")[0]
            self.reasons[f"{reject.pointer}: {cause}" if reject.pointer else cause] += 1

    def check(self, max_reject_share: float) -> None:
        """Raises `TooManyRejects` where more than this share of the rows is rejected; duplicates do not count."""
        bad = self.rejected - self.duplicates
        if bad > max_reject_share * self.rows_in:
            causes = [cause for cause, _ in self.reasons.most_common() if DUPLICATE not in cause]
            raise TooManyRejects(
                f"{bad} of {self.rows_in} rows were rejected, more than the allowed share of {max_reject_share:g}; "
                f"most frequent reason: {causes[0]}"
            )
