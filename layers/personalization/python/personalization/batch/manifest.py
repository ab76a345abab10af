"""The manifest of a job. It holds no clock and no duration: the same input and model give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson

from personalization.batch.jobs import Job, input_version
from personalization.batch.output import OutputPart
from personalization.batch.row_counts import RowCounts
from personalization.bundles.bundle import Bundle
from personalization.core.time import format_timestamp


def manifest(
    job: Job,
    bundle: Bundle,
    content_sha256: str,
    row_counts: RowCounts,
    parts: Sequence[OutputPart] = (),
    *,
    reason: str | None = None,
) -> bytes:
    """The manifest as JSON. `reason` says why the job failed; then no row counts as scored."""
    used = row_counts.rows_used if reason is None else 0
    content: dict[str, Any] = {
        "status": "done" if reason is None else "failed",
        "name": job.name,
        "file": job.file,
        "kind": row_counts.kind or bundle.kind,
        "input_version": input_version(content_sha256, bundle.version),
        "content_sha256": content_sha256,
        "model": {"name": bundle.name, "version": bundle.version},
        "as_of": None if row_counts.as_of is None else format_timestamp(row_counts.as_of),
        "rows_in": row_counts.rows_in,
        "rows_used": used,
        "scored": used,
        "rejected": row_counts.rejected,
        "duplicates": row_counts.duplicates,
        "suspected_duplicates": row_counts.suspected,
        "returns": row_counts.returns,
        "reasons": dict(sorted(row_counts.reasons.items())),
        "parts": [asdict(part) for part in parts],
    }
    if row_counts.users is not None:
        content["users"] = row_counts.users
    if row_counts.catalog is not None:
        content["catalogue"] = {"version": row_counts.catalog}
    if row_counts.missing_columns:
        content["missing_columns"] = row_counts.missing_columns
    if reason is not None:
        content["reason"] = reason
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
