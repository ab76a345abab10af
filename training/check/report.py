"""`python -m training check F…`: which models this data can train, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from personalization.core.errors import InvalidInput
from training.check import Facts, Verdict, look, verdicts


def check(paths: Sequence[Path], mapping: Mapping[str, str] | None = None) -> str:
    """A text for people: what each file is, then which trainings the files together allow.

    Raises `InvalidInput` where none of the files is a readable table.
    """
    files: list[Facts] = []
    lines: list[str] = []
    for path in paths:
        try:
            facts = look(path, mapping)
        except InvalidInput as error:
            lines += [str(path), f"  not usable: {error.detail}"]
            continue
        files.append(facts)
        lines += _file(facts)
    if not files:
        raise InvalidInput("none of the files is a table that can be read:\n" + "\n".join(lines))
    lines += ["", "Together they can train:"]
    for verdict in verdicts(files):
        lines += _verdict(verdict)
    return "\n".join(lines)


def _file(facts: Facts) -> list[str]:
    rows = f"{facts.rows:,} rows" if facts.whole else f"more than {facts.rows:,} rows, of which these were looked at"
    kind = "a flat table" if facts.kind == "table" else facts.kind
    return [f"{facts.path}: {kind}, {rows}", *(f"  {note}" for note in facts.notes)]


def _verdict(verdict: Verdict) -> list[str]:
    mark = "yes" if verdict.possible else "no "
    lines = [f"  {mark} {verdict.training}"]
    lines += [f"        {reason}" for reason in verdict.reasons]
    if verdict.command:
        lines.append(f"        python -m training {verdict.command}")
    return lines
