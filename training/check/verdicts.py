"""`python -m training check F…`: which models a set of files can train, and what is missing for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from personalization.core.errors import InvalidInput
from personalization.core.schema import ADS, FLAT, IMPRESSIONS, INTERACTIONS, ITEMS, USERS
from personalization.core.time import DAY_MS
from training.check.inspection import FileSummary, inspect_file
from training.io.point_in_time import MIN_HISTORY_DAYS

_MIN_DAYS: Final = MIN_HISTORY_DAYS + 7
_MIN_USERS: Final = 30
_MIN_LABELS: Final = 20


@dataclass(frozen=True)
class TrainingVerdict:
    """training   the model: a job, or a flat table
    possible   whether these files are enough
    reasons    where it is not possible what is missing, else what the model will lack
    command    that trains it, where it is possible
    """

    training: str
    possible: bool
    reasons: tuple[str, ...] = ()
    command: str = ""


def verdicts(files: Sequence[FileSummary]) -> list[TrainingVerdict]:
    """One for each job and each flat table, from the summaries of all files."""
    return [_profiles(files), _recommendations(files), _ads(files), *_tables(files)]


def check(paths: Sequence[Path], mapping: Mapping[str, str] | None = None) -> str:
    """The report of the command: the kind of each file, then the models that the files can train together.

    Raises `InvalidInput` where none of the files is a readable table.
    """
    files: list[FileSummary] = []
    lines: list[str] = []
    for path in paths:
        try:
            summary = inspect_file(path, mapping)
        except InvalidInput as error:
            lines += [str(path), f"  not usable: {error.detail}"]
            continue
        files.append(summary)
        lines += _file_lines(summary)
    if not files:
        raise InvalidInput("none of the files is a readable table:\n" + "\n".join(lines))
    lines += ["", "Together they can train:"]
    for verdict in verdicts(files):
        lines += _verdict_lines(verdict)
    return "\n".join(lines)


def _profiles(files: Sequence[FileSummary]) -> TrainingVerdict:
    events = _of(files, INTERACTIONS.kind)
    if not events:
        return TrainingVerdict("profiles", False, ("no interactions: user_id, item_id, event_type, timestamp",))
    missing = []
    if not _total(events, "purchases"):
        missing.append("no event of type purchase among the rows that were read")
    span = _span(events)
    if span < _MIN_DAYS and all(f.whole for f in events):
        missing.append(f"{span:.0f} days of events: at least {_MIN_DAYS} are needed, 70 and more are good")
    users = max(int(f.facts.get("users", 0)) for f in events)
    if users < _MIN_USERS and all(f.whole for f in events):
        missing.append(f"{users} users: at least {_MIN_USERS} are needed")
    if missing:
        return TrainingVerdict("profiles", False, tuple(missing))
    lacks = []
    if not _total(events, "values"):
        lacks.append("no event_value and no unit_price: no expected spend, no monetary value")
    if not _of(files, ITEMS.kind) and not _total(events, "categories"):
        lacks.append("no category, neither in the events nor in an items file: no preferred and no next category")
    return TrainingVerdict(
        "profiles", True, tuple(lacks), _command("profiles", files, (INTERACTIONS.kind, ITEMS.kind, USERS.kind))
    )


def _recommendations(files: Sequence[FileSummary]) -> TrainingVerdict:
    events = _of(files, INTERACTIONS.kind)
    if not events:
        return TrainingVerdict("recommendations", False, ("no interactions: user_id, item_id, event_type, timestamp",))
    if not _total(events, "repeat_users"):
        return TrainingVerdict("recommendations", False, ("no user has two events: there is no next event to train on",))
    lacks = () if _of(files, ITEMS.kind) else ("no items file: new items have no text and category to be recommended by",)
    return TrainingVerdict("recommendations", True, lacks, _command("recommendations", files, (INTERACTIONS.kind, ITEMS.kind)))


def _ads(files: Sequence[FileSummary]) -> TrainingVerdict:
    shown = _of(files, IMPRESSIONS.kind)
    if not shown:
        return TrainingVerdict("ads", False, ("no impressions: user_id, ad_id, timestamp, with click or conversion",))
    outcomes = _total(shown, "click") + _total(shown, "conversion")
    if outcomes < _MIN_LABELS and all(f.whole for f in shown):
        return TrainingVerdict("ads", False, (f"{outcomes} clicks and conversions: at least {_MIN_LABELS} are needed",))
    lacks = []
    if not any(f.facts.get("propensity") for f in shown):
        lacks.append("no propensity: other policies cannot be evaluated from this log")
    if not _of(files, ADS.kind):
        lacks.append("no ads file: new ads have no attributes to be scored by")
    return TrainingVerdict(
        "ads", True, tuple(lacks), _command("ads", files, (IMPRESSIONS.kind, ADS.kind, USERS.kind, INTERACTIONS.kind))
    )


def _tables(files: Sequence[FileSummary]) -> list[TrainingVerdict]:
    """Flat tables: each file that may have a label."""
    results = []
    for summary in files:
        if summary.kind in (INTERACTIONS.kind, IMPRESSIONS.kind):
            continue
        name = f"a flat table, {summary.path.name}"
        if summary.labels:
            command = f"train JOB --table {summary.path} --label {summary.labels[0]} --out DIR"
            lacks = () if len(summary.labels) == 1 else (f"which is the label: {', '.join(summary.labels[:5])}?",)
            results.append(TrainingVerdict(name, True, lacks, command))
        elif summary.kind == FLAT:
            results.append(TrainingVerdict(name, False, ("no column with two different values, which could be a label",)))
    return results


def _command(job: str, files: Sequence[FileSummary], kinds: Sequence[str]) -> str:
    several = INTERACTIONS.kind if job != "ads" else IMPRESSIONS.kind
    options = []
    for kind in kinds:
        paths = [summary.path for summary in _of(files, kind)]
        options += [f"--{kind} {path}" for path in (paths if kind == several else paths[:1])]
    return f"train {job} {' '.join(options)} --out DIR"


def _of(files: Sequence[FileSummary], kind: str) -> list[FileSummary]:
    """Files of a kind. Other tables have user or item ids too: tables of users or items have one row an id, and no label."""
    return [f for f in files if f.kind == kind and f.rows and f.facts.get("one_row_each", True) and not f.labels]


def _total(files: Sequence[FileSummary], name: str) -> int:
    return sum(int(summary.facts.get(name, 0)) for summary in files)


def _span(files: Sequence[FileSummary]) -> float:
    """Days from the first to the last event."""
    moments: list[Any] = [summary.facts[name] for summary in files for name in ("first", "last") if name in summary.facts]
    return (max(moments) - min(moments)) / DAY_MS if moments else 0.0


def _file_lines(summary: FileSummary) -> list[str]:
    rows = f"{summary.rows:,} rows" if summary.whole else f"more than {summary.rows:,} rows, of which these were read"
    kind = "a flat table" if summary.kind == "table" else summary.kind
    return [f"{summary.path}: {kind}, {rows}", *(f"  {note}" for note in summary.notes)]


def _verdict_lines(verdict: TrainingVerdict) -> list[str]:
    mark = "yes" if verdict.possible else "no "
    lines = [f"  {mark} {verdict.training}"]
    lines += [f"        {reason}" for reason in verdict.reasons]
    if verdict.command:
        lines.append(f"        python -m training {verdict.command}")
    return lines
