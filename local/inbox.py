"""Drops a file in the inbox of the running stack and fetches its results."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from local import stack_file
from local.aws import client
from personalization.batch.jobs import FAILED, MANIFEST, REJECTS, SUCCESS, Job, input_version
from personalization.bundles.pointer import pointer_key

_POLL_SECONDS: Final = 0.25
_IN_ONE_PIECE: Final = TransferConfig(multipart_threshold=5 * 1024**3)  # moto sends two events for a multipart upload
_OWN_FILES: Final = ("part-*", REJECTS, MANIFEST, SUCCESS, FAILED)


class DropFailed(Exception):
    """The job has no results; the message says why and where to look."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A dropped file.

    results      prefix of the results' keys
    dropped_at   unix seconds
    """

    job: Job
    results: str
    dropped_at: float


class Inbox:
    """The inbox and the results of a running stack.

    stack   its description, as `stack_file.find` gives it
    """

    def __init__(self, stack: Mapping[str, Any]) -> None:
        self._stack = stack
        self._s3 = client("s3", stack["endpoint"])
        self._sqs = client("sqs", stack["endpoint"])
        self._data = stack_file.variable(stack, "DATA_BUCKET")
        self._models = stack_file.variable(stack, "MODELS_BUCKET")

    def drop(self, name: str, file: Path, *, mapping: bytes | None = None, table: str | None = None) -> Drop:
        """Upload a file to the inbox of a model.

        name      of the model: ``profiles``, ``profiles-table``, …
        mapping   JSON of the mapping file beside it
        table     kind of table, where its columns are ambiguous

        Raises `DropFailed` where no model of that name is promoted.
        """
        job = Job(name, f"{table}/{file.name}" if table else file.name, table)
        own, of_folder = job.mapping_keys
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        if mapping is None:
            self._s3.delete_object(Bucket=self._data, Key=own)  # that of an earlier drop
            mapping = self._read(self._data, of_folder)
        else:
            self._s3.put_object(Bucket=self._data, Key=own, Body=mapping)
        digest.update(mapping or b"")
        drop = Drop(job, job.results(input_version(digest.hexdigest(), self._model_version(name))), time.time())
        self._s3.delete_object(Bucket=self._data, Key=drop.results + FAILED)  # of an earlier try
        self._s3.upload_file(str(file), self._data, job.key, Config=_IN_ONE_PIECE)
        return drop

    def wait(self, drop: Drop, timeout: float) -> None:
        """Wait for complete results. Raises `DropFailed` where the job failed or `timeout` seconds have passed."""
        while True:
            files = set(self._files(drop))
            if SUCCESS in files:
                return
            if FAILED in files:
                raise DropFailed(f"the job failed: {self._cause(drop)}")
            if function := self._dead_letter_function(drop):
                raise DropFailed(f"{function} was interrupted on every try; see logs/{function}.log")
            if time.time() - drop.dropped_at > timeout:
                raise DropFailed(f"no result within {timeout:g} seconds; the file stays in the inbox")
            time.sleep(_POLL_SECONDS)

    def fetch(self, drop: Drop, directory: Path) -> dict[str, Any]:
        """Replace the files of an earlier job in a directory by this job's; returns its manifest."""
        directory.mkdir(parents=True, exist_ok=True)
        for pattern in _OWN_FILES:
            for old in directory.glob(pattern):
                old.unlink()
        for name in self._files(drop):
            self._s3.download_file(self._data, drop.results + name, str(directory / name))
        path = directory / MANIFEST
        manifest: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
        return manifest

    def _model_version(self, name: str) -> str:
        pointer = self._read(self._models, pointer_key(name))
        if pointer is None:
            raise DropFailed(f"no model {name!r} is promoted in the running stack; publish one, or serve with --bundles")
        return str(json.loads(pointer)["version"])

    def _files(self, drop: Drop) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._data, Prefix=drop.results)
        for page in pages:
            for content in page.get("Contents", []):
                yield content["Key"].removeprefix(drop.results)

    def _cause(self, drop: Drop) -> str:
        manifest = json.loads(self._read(self._data, drop.results + MANIFEST) or b"{}")
        return str(manifest.get("reason", "its manifest gives no cause"))

    def _dead_letter_function(self, drop: Drop) -> str | None:
        """The function whose dead-letter queue holds this drop."""
        for queue in self._stack["queues"].values():
            letters = next((q for q in self._stack["queues"].values() if q["arn"] == queue["dead_letters"]), None)
            if letters and self._holds(letters["url"], drop):
                functions = self._stack["functions"].items()
                return next((name for name, function in functions if queue["arn"] in function["queues"]), "the function")
        return None

    def _holds(self, url: str, drop: Drop) -> bool:
        answer = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageSystemAttributeNames=["SentTimestamp"]
        )
        return any(
            json.dumps(drop.job.key) in message["Body"]
            and int(message["Attributes"]["SentTimestamp"]) >= drop.dropped_at * 1000 - 1
            for message in answer.get("Messages", [])
        )

    def _read(self, bucket: str, key: str) -> bytes | None:
        try:
            content: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        return content
