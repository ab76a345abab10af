"""The account of a job: every row is in it, used or rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from personalization.core.errors import InvalidInput
from personalization.data import Reject

DUPLICATE: Final = "expected an event_id that was not there before"


class TooManyRejects(InvalidInput):
    """So many rows are bad that the file is not what it should be."""

    code, title = "too-many-rejects", "Too many rows were rejected"


@dataclass
class RowCounts:
    """Counts of one job, filled in while its file is read.

    rows_in       rows of the file, without header and blank lines
    rows_used     of them, those that went into scores; `rows_in = rows_used + rejected`
    rejected      the others, each a line of rejects.jsonl
    duplicates    of these, the rows whose `event_id` was seen before: nothing is wrong with them
    suspected     exact copies without an `event_id`; they are used
    returns       refunds and negative quantities; they are used, and netted
    bad_cells     cells that counted as missing, where no row is rejected for them
    missing_columns
                  columns of a flat table that the model knows and the file lacks
    reasons       rejects by pointer and reason
    users         different users in the rows that were used, `None` for a flat table
    as_of         milliseconds for which users are described, `None` for a flat table
    catalogue     version of the items that were recommended, `None` for those of the model
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
    catalogue: str | None = None
    bad_cells: int = 0
    missing_columns: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def reject(self, rejects: Sequence[Reject]) -> None:
        self.rejected += len(rejects)
        for reject in rejects:
            cause = reject.reason.partition(", received")[0]
            self.reasons[f"{reject.pointer}: {cause}" if reject.pointer else cause] += 1

    def check(self, max_reject_share: float) -> None:
        """Raises `TooManyRejects` where more than this share of the rows was rejected, duplicates not counted."""
        bad = self.rejected - self.duplicates
        if bad > max_reject_share * self.rows_in:
            causes = [cause for cause, _ in self.reasons.most_common() if DUPLICATE not in cause]
            raise TooManyRejects(
                f"{bad} of {self.rows_in} rows were rejected, more than the allowed share of {max_reject_share:g}; "
                f"most often: {causes[0]}"
            )
