"""Whether a trained bundle still stands for its data, its code and its options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from local import REPOSITORY
from personalization.bundles.bundle import BUNDLE_JSON, file_sha256

# What a bundle is made by: the trainer, the runtime whose features and encoder it uses, and the versions of the libraries.
CODE: Final = (REPOSITORY / "training", REPOSITORY / "layers" / "personalization" / "python", REPOSITORY / "constraints.txt")


def fingerprint(data: Iterable[Path], options: Sequence[str], code: Iterable[Path] = CODE) -> str:
    """sha256 over the content of data files, the Python sources under `code` and the options.

    Names of data files count, the directories they lie in do not; a missing file raises `FileNotFoundError`.
    """
    digest = hashlib.sha256()
    for path in data:
        _add(digest, path.name, file_sha256(path))
    for root in code:
        sources = sorted(root.rglob("*.py")) if root.is_dir() else [root] if root.is_file() else []
        for source in sources:
            _add(digest, str(source.relative_to(root.parent)), file_sha256(source))
    _add(digest, "options", json.dumps(list(options)))
    return digest.hexdigest()


def is_current(bundle: Path, expected: str) -> bool:
    """Whether `bundle` was remembered with this fingerprint and has not been changed since."""
    try:
        record = json.loads(_record(bundle).read_text())
        return bool(record["fingerprint"] == expected and record["bundle_sha256"] == file_sha256(bundle / BUNDLE_JSON))
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return False


def remember(bundle: Path, value: str) -> None:
    """Write down, beside the bundle, what it was made of."""
    record = {"fingerprint": value, "bundle_sha256": file_sha256(bundle / BUNDLE_JSON)}
    draft = _record(bundle).with_suffix(".draft")
    draft.write_text(json.dumps(record, indent=2) + "\n")
    draft.replace(_record(bundle))


def forget(bundle: Path) -> None:
    """Before a new training, so that one that breaks off leaves nothing that looks finished."""
    _record(bundle).unlink(missing_ok=True)


def _record(bundle: Path) -> Path:
    return bundle.with_name(f"{bundle.name}.reuse.json")


def _add(digest: hashlib._Hash, name: str, value: str) -> None:
    digest.update(f"{name}\0{value}\n".encode())
