"""One dropped file: download, score, upload; ``_SUCCESS`` last, and nothing where it is there already.

Two kinds of failure are told apart. A file that cannot be scored will fail again, so it ends here: a manifest that says
why, ``_FAILED``, a metric. What is not the file's fault is raised: the queue tries again, and gives up into its dead letters.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from botocore.exceptions import ClientError

from personalization.batch.jobs import FAILED, MANIFEST, REJECTS, SUCCESS, Job, input_version
from personalization.batch.manifest import manifest, moment
from personalization.batch.output import PartsOutput
from personalization.batch.partitions import Partition
from personalization.batch.row_counts import RowCounts
from personalization.batch.score import score_file
from personalization.batch.segment_exports import CURRENT_SEGMENTS, SEGMENTS_JSON, SegmentExports
from personalization.batch.task import JobDependencies
from personalization.bundles.bundle import Bundle
from personalization.core.errors import InvalidInput
from personalization.core.schema import ADS
from personalization.data import parse_mapping

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ_BYTES: Final = 1 << 20
_TYPES: Final = {".jsonl": "application/x-ndjson", ".json": "application/json"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of a file.

    status    done; there (it was done before); failed; gone (the object is not there any more)
    results   prefix of the results' keys, empty where there are none
    row_counts     of a job that ran
    because   why it failed
    """

    status: Literal["done", "there", "failed", "gone"]
    results: str = ""
    row_counts: RowCounts | None = None
    because: str = ""


class Runner:
    """Runs jobs of one bucket.

    models             the bundle of a model's name; its errors are raised on
    on_events          is given the events of a file by user, for state
    max_reject_share   above which a job fails
    temp_dir           holds the file, and its results until they are complete
    dependencies       what jobs can reach besides
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        models: Callable[[str], Bundle],
        *,
        max_reject_share: float,
        on_events: Callable[[Bundle, Partition], None] | None = None,
        temp_dir: Path | None = None,
        dependencies: JobDependencies | None = None,
    ) -> None:
        self._s3, self._bucket, self._models = s3, bucket, models
        self._max_reject_share, self._on_events, self._temp_dir = max_reject_share, on_events, temp_dir
        self._surroundings = dependencies

    def run(self, job: Job) -> JobResult:
        """Score one file. Raises `ModelUnavailable`, `StateUnavailable` and botocore's errors: the job may be repeated."""
        bundle = self._models(job.name)
        with TemporaryDirectory(prefix="batch-", dir=self._temp_dir) as name:
            directory = Path(name)
            digest = hashlib.sha256()
            dropped_at = self._download(job.key, directory / "input", digest)
            if dropped_at is None:
                return JobResult("gone")
            mapping = next((raw for key in job.mapping_keys if (raw := self._read(key)) is not None), None)
            digest.update(mapping or b"")
            version = input_version(digest.hexdigest(), bundle.version)
            prefix = job.results(version)
            if self._exists(prefix + SUCCESS) and not self._replaces(prefix):
                return JobResult("there", prefix)
            return self._score(job, bundle, directory, dropped_at, mapping, prefix, digest.hexdigest())

    def _score(
        self, job: Job, bundle: Bundle, directory: Path, dropped_at: int, mapping: bytes | None, prefix: str, sha256: str
    ) -> JobResult:
        row_counts = RowCounts()
        on_events, results = self._on_events, directory / "results"
        results.mkdir()
        segments = SegmentExports.of(results, bundle)
        try:
            with PartsOutput(results) as output, segments or nullcontext():
                score_file(
                    bundle,
                    directory / "input",
                    output,
                    mapping=parse_mapping(mapping) if mapping is not None else None,
                    kind=job.table,
                    dropped_at=dropped_at,
                    max_reject_share=self._max_reject_share,
                    on_events=(lambda share: on_events(bundle, share)) if on_events else None,
                    on_profiles=segments.add if segments else None,
                    row_counts=row_counts,
                    temp_dir=directory,
                    dependencies=self._surroundings,
                )
        except InvalidInput as error:
            self._put_file(prefix, results / REJECTS)
            self._put(prefix + MANIFEST, manifest(job, bundle, sha256, row_counts, because=error.detail))
            self._put(prefix + FAILED, b"")
            return JobResult("failed", prefix, row_counts, error.detail)
        for part in output.parts:
            self._put_file(prefix, results / part.name)
        self._put_file(prefix, results / REJECTS)
        self._put(prefix + MANIFEST, manifest(job, bundle, sha256, row_counts, output.parts))
        if segments and row_counts.users:
            self._put_segments(job, bundle, row_counts, segments, prefix, results)
        if self._exists(prefix + FAILED):  # of a try under a stricter limit
            self._s3.delete_object(Bucket=self._bucket, Key=prefix + FAILED)
        self._put(prefix + SUCCESS, b"")
        return JobResult("done", prefix, row_counts)

    def _replaces(self, prefix: str) -> bool:
        """Whether a file that was worked on before takes effect once more: the ads of the day before, dropped again."""
        return bool(orjson.loads(self._read(prefix + MANIFEST) or b"{}").get("kind") == ADS.kind)

    def _put_segments(
        self, job: Job, bundle: Bundle, row_counts: RowCounts, segments: SegmentExports, prefix: str, results: Path
    ) -> None:
        """The exports, what is told of them, and the same once more where `GET /v1/segments` looks: the newest job counts."""
        for name in segments.files:
            self._put_file(prefix, results / name)
        about = {
            "of_model": {"name": bundle.name, "version": bundle.version},
            "of_file": job.file,
            "as_of": None if row_counts.as_of is None else moment(row_counts.as_of),
        }
        told = segments.told(about, prefix)
        self._put(prefix + SEGMENTS_JSON, told)
        self._put(CURRENT_SEGMENTS, told)

    def _download(self, key: str, path: Path, digest: Any) -> int | None:
        """When the object was dropped, in milliseconds; its bytes go to disk and into the hash. `None`: it is not there."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        with path.open("wb") as out:
            for block in answer["Body"].iter_chunks(_READ_BYTES):
                digest.update(block)
                out.write(block)
        return int(answer["LastModified"].timestamp() * 1000)

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
