"""Whether a trained bundle is current: its data, code and options are unchanged since its training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from local import REPOSITORY
from personalization.bundles.bundle import BUNDLE_JSON, file_sha256

# The code that makes a bundle: the trainer, the runtime with its features and encoder, the versions of the libraries.
CODE: Final = (REPOSITORY / "training", REPOSITORY / "layers" / "personalization" / "python", REPOSITORY / "constraints.txt")


def fingerprint(data: Iterable[Path], options: Sequence[str], code: Iterable[Path] = CODE) -> str:
    """sha256 over the content of data files, the Python sources under `code` and the options.

    The names of data files count, their directories do not. Raises `FileNotFoundError` for a missing file.
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
    """Whether `bundle` was recorded with this fingerprint and has not changed since."""
    try:
        record = json.loads(_record_file(bundle).read_text())
        return bool(record["fingerprint"] == expected and record["bundle_sha256"] == file_sha256(bundle / BUNDLE_JSON))
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return False


def record(bundle: Path, value: str) -> None:
    """Record the fingerprint beside the bundle."""
    content = {"fingerprint": value, "bundle_sha256": file_sha256(bundle / BUNDLE_JSON)}
    draft = _record_file(bundle).with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(_record_file(bundle))


def remove_record(bundle: Path) -> None:
    """Remove the record before a training, so that an interrupted training leaves no current bundle."""
    _record_file(bundle).unlink(missing_ok=True)


def _record_file(bundle: Path) -> Path:
    return bundle.with_name(f"{bundle.name}.reuse.json")


def _add(digest: hashlib._Hash, name: str, value: str) -> None:
    digest.update(f"{name}\0{value}\n".encode())
