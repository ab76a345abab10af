"""Publishes bundles from disk to the local model store."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personalization.bundles import promote, publish
from personalization.bundles.bundle import BUNDLE_JSON, read_manifest
from personalization.core.errors import PersonalizationError


@dataclass(frozen=True, slots=True)
class Published:
    """The result for one directory: `version` is None where `problem` says why it was not published."""

    directory: Path
    name: str
    version: str | None
    problem: str | None = None


def find_bundles(pattern: str) -> list[Path]:
    """The directories that match the pattern and hold a bundle, sorted by name."""
    # `Path.glob` does not accept an absolute pattern
    return sorted(path for path in map(Path, glob.glob(pattern)) if (path / BUNDLE_JSON).is_file())  # noqa: PTH207


def publish_all(s3: Any, bucket: str, directories: Sequence[Path]) -> list[Published]:
    """Publish and promote each bundle; an invalid one is reported and skipped."""
    return [_publish(s3, bucket, directory) for directory in directories]


def _publish(s3: Any, bucket: str, directory: Path) -> Published:
    try:
        manifest, _ = read_manifest(directory)
        name = str(manifest["name"])
        version = publish(s3, bucket, directory)
        promote(s3, bucket, name, version)
    except PersonalizationError as error:
        return Published(directory, directory.name, None, error.detail)
    return Published(directory, name, version)
