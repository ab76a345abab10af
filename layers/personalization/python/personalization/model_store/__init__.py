"""Bundles in S3: ``models/<name>/<version>/…`` never changes; ``models/<name>/current.json`` says which version answers."""

from personalization.model_store.pointer import Pointer, Release, get_pointer
from personalization.model_store.reader import ModelStore
from personalization.model_store.writer import Listing, list_versions, promote, publish, rollback

__all__ = [
    "Listing",
    "ModelStore",
    "Pointer",
    "Release",
    "get_pointer",
    "list_versions",
    "promote",
    "publish",
    "rollback",
]
