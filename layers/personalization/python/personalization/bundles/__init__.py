"""Bundles in S3: ``models/<name>/<version>/…`` never changes; ``models/<name>/current.json`` says which version answers."""

from personalization.bundles.model_store import ModelStore
from personalization.bundles.pointer import ModelPointer, Release, get_pointer
from personalization.bundles.publishing import Listing, list_versions, promote, publish, rollback

__all__ = [
    "Listing",
    "ModelPointer",
    "ModelStore",
    "Release",
    "get_pointer",
    "list_versions",
    "promote",
    "publish",
    "rollback",
]
