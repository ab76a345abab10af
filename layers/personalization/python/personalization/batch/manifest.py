"""What a job says of itself. No clock and no duration is in it: the same input and model give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from personalization.batch.jobs import Job, input_version
from personalization.batch.output import OutputPart
from personalization.batch.row_counts import RowCounts
from personalization.bundles.bundle import Bundle


def manifest(
    job: Job,
    bundle: Bundle,
    content_sha256: str,
    tally: RowCounts,
    parts: Sequence[OutputPart] = (),
    *,
    because: str | None = None,
) -> bytes:
    """JSON of a job's manifest; `because` says why it failed, and then nothing counts as scored."""
    used = tally.rows_used if because is None else 0
    content: dict[str, Any] = {
        "status": "done" if because is None else "failed",
        "name": job.name,
        "file": job.file,
        "kind": tally.kind or bundle.kind,
        "input_version": input_version(content_sha256, bundle.version),
        "content_sha256": content_sha256,
        "model": {"name": bundle.name, "version": bundle.version},
        "as_of": None if tally.as_of is None else moment(tally.as_of),
        "rows_in": tally.rows_in,
        "rows_used": used,
        "scored": used,
        "rejected": tally.rejected,
        "duplicates": tally.duplicates,
        "suspected_duplicates": tally.suspected,
        "returns": tally.returns,
        "reasons": dict(sorted(tally.reasons.items())),
        "parts": [asdict(part) for part in parts],
    }
    if tally.users is not None:
        content["users"] = tally.users
    if tally.catalogue is not None:
        content["catalogue"] = {"version": tally.catalogue}
    if tally.missing_columns:
        content["missing_columns"] = tally.missing_columns
    if because is not None:
        content["because"] = because
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def moment(milliseconds: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
