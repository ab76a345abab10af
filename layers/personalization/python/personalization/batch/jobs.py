"""S3 keys of jobs: ``inbox/<name>/[<table>/]<path>`` and ``results/<name>/<file>/<input version>/``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from personalization.core.schema import FLAT, TABLE_BY_KIND, job_of

INBOX: Final = "inbox"
RESULTS: Final = "results"
MAPPING_SUFFIX: Final = ".map.json"
FOLDER_MAPPING: Final = "_map.json"
REJECTS: Final = "rejects.jsonl"
MANIFEST: Final = "manifest.json"
SUCCESS: Final = "_SUCCESS"
FAILED: Final = "_FAILED"


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An S3 object."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Job:
    """A dropped file.

    name    the model that scores it
    file    the key after ``inbox/<name>/``; the results' keys contain it
    table   kind of table that the folder states, `None` where the columns decide
    """

    name: str
    file: str
    table: str | None = None

    @property
    def key(self) -> str:
        return f"{INBOX}/{self.name}/{self.file}"

    @property
    def mapping_keys(self) -> tuple[str, str]:
        """Keys of the column mappings: the file's own, then the folder's."""
        return self.key + MAPPING_SUFFIX, f"{self.key.rpartition('/')[0]}/{FOLDER_MAPPING}"

    def results(self, input_version: str) -> str:
        """Prefix of the results' keys; it ends with a slash."""
        return f"{RESULTS}/{self.name}/{self.file}/{input_version}/"


def job_of_key(key: str) -> Job | None:
    """The job of an object; `None` for mappings, folders, results and unknown model names."""
    inbox, _, rest = key.partition("/")
    name, _, file = rest.partition("/")
    if inbox != INBOX or not file or file.endswith(("/", MAPPING_SUFFIX)) or file.rpartition("/")[2] == FOLDER_MAPPING:
        return None
    try:
        job_of(name)
    except ValueError:
        return None
    folder, _, path = file.partition("/")
    return Job(name, file, folder if path and (folder in TABLE_BY_KIND or folder == FLAT) else None)


def input_version(content_sha256: str, model_version: str) -> str:
    """Equal bytes (file and mapping) and the same model version give the same input version."""
    return f"{content_sha256[:16]}-{model_version}"
