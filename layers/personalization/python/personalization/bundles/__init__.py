"""Model bundles in S3: ``models/<name>/<version>/…`` never changes; ``models/<name>/current.json`` names what serves."""

from personalization.bundles.model_store import ModelStore
from personalization.bundles.pointer import ModelPointer, Release, read_pointer
from personalization.bundles.publishing import PublishedVersion, list_versions, promote, publish, rollback

__all__ = [
    "ModelPointer",
    "ModelStore",
    "PublishedVersion",
    "Release",
    "list_versions",
    "promote",
    "publish",
    "read_pointer",
    "rollback",
]
