"""Run the job of one dropped file: download, score, upload. ``_SUCCESS`` is written last, and its presence ends a repeated job.

There are two kinds of failure. A file that cannot be scored would fail again: the job ends with a manifest that says why,
``_FAILED`` and a metric. Any other error is raised: the queue delivers the message again, and in the end to its dead letters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Literal

import orjson
from botocore.exceptions import ClientError

from personalization.batch.jobs import FAILED, MANIFEST, REJECTS, SUCCESS, Job, input_version
from personalization.batch.manifest import manifest
from personalization.batch.output import PartsOutput
from personalization.batch.row_counts import RowCounts
from personalization.batch.scoring import score_file
from personalization.batch.segment_exports import SEGMENTS_JSON, SegmentExports
from personalization.batch.task import JobDependencies, ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core.errors import InvalidInput
from personalization.core.schema import ADS
from personalization.core.time import format_timestamp
from personalization.data import parse_mapping
from personalization.profiles.behaviour import CURRENT_SEGMENTS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ_BYTES: Final = 1 << 20
_TYPES: Final = {".jsonl": "application/x-ndjson", ".json": "application/json"}


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended.

    status      done; there (done before); failed; gone (the object was deleted)
    results     prefix of the results' keys, empty where there are none
    row_counts  of a job that ran
    reason      why it failed
    """

    status: Literal["done", "there", "failed", "gone"]
    results: str = ""
    row_counts: RowCounts | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _DroppedFile:
    """A downloaded file. `prefix` is that of its results' keys, `sha256` that of the file and its mapping."""

    job: Job
    bundle: Bundle
    path: Path
    dropped_at: int
    mapping: bytes | None
    sha256: str
    prefix: str


class Runner:
    """Runs the jobs of one bucket.

    load_model         (model name) the bundle; its errors are raised
    max_reject_share   a job fails where a larger share of its rows is rejected
    temp_dir           holds the file, and its results until they are complete; `None` takes the system's directory
    dependencies       the stores that jobs may use
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        load_model: Callable[[str], Bundle],
        *,
        max_reject_share: float,
        temp_dir: Path | None = None,
        dependencies: JobDependencies | None = None,
    ) -> None:
        self._s3, self._bucket, self._load_model = s3, bucket, load_model
        self._max_reject_share, self._temp_dir = max_reject_share, temp_dir
        self._dependencies = dependencies or JobDependencies()

    def run(self, job: Job) -> JobResult:
        """Score one file. Raises `ModelUnavailable`, `StateUnavailable` and botocore's errors: the job may be repeated."""
        bundle = self._load_model(job.name)
        with TemporaryDirectory(prefix="batch-", dir=self._temp_dir) as name:
            file = self._download(job, bundle, Path(name))
            if file is None:
                return JobResult("gone")
            if self._exists(file.prefix + SUCCESS) and not self._takes_effect_again(file.prefix):
                return JobResult("there", file.prefix)
            return self._score(file, Path(name) / "results")

    def _score(self, file: _DroppedFile, results: Path) -> JobResult:
        results.mkdir()
        counts, prefix = RowCounts(), file.prefix
        segments = SegmentExports.for_bundle(results, file.bundle)
        try:
            with PartsOutput(results) as output, segments or nullcontext():
                task = ScoringTask(
                    file.path,
                    output,
                    row_counts=counts,
                    mapping=parse_mapping(file.mapping) if file.mapping is not None else None,
                    kind=file.job.table,
                    dropped_at=file.dropped_at,
                    max_reject_share=self._max_reject_share,
                    temp_dir=results.parent,
                    segments=segments,
                    dependencies=self._dependencies,
                )
                score_file(file.bundle, task)
        except InvalidInput as error:
            self._put_file(prefix, results / REJECTS)
            self._put(prefix + MANIFEST, manifest(file.job, file.bundle, file.sha256, counts, reason=error.detail))
            self._put(prefix + FAILED, b"")
            return JobResult("failed", prefix, counts, error.detail)
        for name in (*(part.name for part in output.parts), REJECTS):
            self._put_file(prefix, results / name)
        self._put(prefix + MANIFEST, manifest(file.job, file.bundle, file.sha256, counts, output.parts))
        if segments and counts.users:
            self._put_segments(file, counts, segments, results)
        if self._exists(prefix + FAILED):  # an earlier run had a stricter limit
            self._s3.delete_object(Bucket=self._bucket, Key=prefix + FAILED)
        self._put(prefix + SUCCESS, b"")
        return JobResult("done", prefix, counts)

    def _takes_effect_again(self, prefix: str) -> bool:
        """Whether a file takes effect each time it is dropped: yesterday's ads, dropped again, replace today's."""
        return bool(orjson.loads(self._read(prefix + MANIFEST) or b"{}").get("kind") == ADS.kind)

    def _put_segments(self, file: _DroppedFile, counts: RowCounts, segments: SegmentExports, results: Path) -> None:
        """The exports and their summary; a copy of the summary replaces the one that `GET /v1/segments` reads."""
        for name in segments.files:
            self._put_file(file.prefix, results / name)
        source = {
            "of_model": {"name": file.bundle.name, "version": file.bundle.version},
            "of_file": file.job.file,
            "as_of": None if counts.as_of is None else format_timestamp(counts.as_of),
        }
        summary = segments.summary(source, file.prefix)
        self._put(file.prefix + SEGMENTS_JSON, summary)
        self._put(CURRENT_SEGMENTS, summary)

    def _download(self, job: Job, bundle: Bundle, directory: Path) -> _DroppedFile | None:
        """The file and its column mapping; `None` where the object was deleted."""
        path, digest = directory / "input", hashlib.sha256()
        try:
            response = self._s3.get_object(Bucket=self._bucket, Key=job.key)
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        with path.open("wb") as out:
            for block in response["Body"].iter_chunks(_READ_BYTES):
                digest.update(block)
                out.write(block)
        mapping = next((content for key in job.mapping_keys if (content := self._read(key)) is not None), None)
        digest.update(mapping or b"")
        dropped_at = int(response["LastModified"].timestamp() * 1000)
        prefix = job.results(input_version(digest.hexdigest(), bundle.version))
        return _DroppedFile(job, bundle, path, dropped_at, mapping, digest.hexdigest(), prefix)

    def _read(self, key: str) -> bytes | None:
        try:
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if _is_missing(error):
                return None
            raise

    def _exists(self, key: str) -> bool:
        try:
            self._s3.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if _is_missing(error):
                return False
            raise
        return True

    def _put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=_content_type(key))

    def _put_file(self, prefix: str, path: Path) -> None:
        with path.open("rb") as stream:
            self._s3.put_object(Bucket=self._bucket, Key=prefix + path.name, Body=stream, ContentType=_content_type(path.name))


def _is_missing(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound")


def _content_type(key: str) -> str:
    return _TYPES.get(Path(key).suffix, "application/octet-stream")
