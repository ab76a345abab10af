"""Which models a set of files can train, and what is missing for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from personalization.core.schema import ADS, FLAT, IMPRESSIONS, INTERACTIONS, ITEMS, USERS
from personalization.core.time import DAY_MS
from training.check.facts import Facts
from training.io.point_in_time import MIN_HISTORY_DAYS

_LEAST_DAYS: Final = MIN_HISTORY_DAYS + 7
_LEAST_USERS: Final = 30
_LEAST_LABELS: Final = 20


@dataclass(frozen=True)
class Verdict:
    """training   what would be trained
    possible   whether these files are enough
    reasons    sentences: what is missing where it is not possible, else what it will lack
    command    how to, where it is possible
    """

    training: str
    possible: bool
    reasons: tuple[str, ...] = ()
    command: str = ""


def verdicts(files: Sequence[Facts]) -> list[Verdict]:
    """One for each of the trainings, from what `look` found in the files together."""
    return [_profiles(files), _recommendations(files), _ads(files), *_tables(files)]


def _profiles(files: Sequence[Facts]) -> Verdict:
    events = _of(files, INTERACTIONS.kind)
    if not events:
        return Verdict("profiles", False, ("no interactions: user_id, item_id, event_type, timestamp",))
    missing = []
    if not _total(events, "purchases"):
        missing.append("no event of type purchase among those looked at")
    span = _span(events)
    if span < _LEAST_DAYS and all(f.whole for f in events):
        missing.append(f"{span:.0f} days of events: at least {_LEAST_DAYS} are needed, 70 and more are good")
    users = max(int(f.found.get("users", 0)) for f in events)
    if users < _LEAST_USERS and all(f.whole for f in events):
        missing.append(f"{users} users: at least {_LEAST_USERS} are needed")
    if missing:
        return Verdict("profiles", False, tuple(missing))
    lacks = []
    if not _total(events, "values"):
        lacks.append("no event_value and no unit_price: no expected spend, no monetary value")
    if not _of(files, ITEMS.kind) and not _total(events, "categories"):
        lacks.append("no category, neither in the events nor in an items file: no preferred and no next category")
    return Verdict("profiles", True, tuple(lacks), _command("profiles", files, (INTERACTIONS.kind, ITEMS.kind, USERS.kind)))


def _recommendations(files: Sequence[Facts]) -> Verdict:
    events = _of(files, INTERACTIONS.kind)
    if not events:
        return Verdict("recommendations", False, ("no interactions: user_id, item_id, event_type, timestamp",))
    if not _total(events, "repeat_users"):
        return Verdict("recommendations", False, ("no user has two events: there is no next one to learn",))
    lacks = () if _of(files, ITEMS.kind) else ("no items file: new items cannot be told by their text and category",)
    return Verdict("recommendations", True, lacks, _command("recommendations", files, (INTERACTIONS.kind, ITEMS.kind)))


def _ads(files: Sequence[Facts]) -> Verdict:
    shown = _of(files, IMPRESSIONS.kind)
    if not shown:
        return Verdict("ads", False, ("no impressions: user_id, ad_id, timestamp, with click or conversion",))
    answers = _total(shown, "click") + _total(shown, "conversion")
    if answers < _LEAST_LABELS and all(f.whole for f in shown):
        return Verdict("ads", False, (f"{answers} clicks and conversions: at least {_LEAST_LABELS} are needed",))
    lacks = []
    if not any(f.found.get("propensity") for f in shown):
        lacks.append("no propensity: other policies cannot be judged from this log")
    if not _of(files, ADS.kind):
        lacks.append("no ads file: a new ad is told from others by nothing")
    return Verdict(
        "ads", True, tuple(lacks), _command("ads", files, (IMPRESSIONS.kind, ADS.kind, USERS.kind, INTERACTIONS.kind))
    )


def _tables(files: Sequence[Facts]) -> list[Verdict]:
    """Flat tables: each file that may have a label."""
    found = []
    for facts in files:
        if facts.kind in (INTERACTIONS.kind, IMPRESSIONS.kind):
            continue
        name = f"a flat table, {facts.path.name}"
        if facts.labels:
            command = f"train JOB --table {facts.path} --label {facts.labels[0]} --out DIR"
            lacks = () if len(facts.labels) == 1 else (f"which is the label: {', '.join(facts.labels[:5])}?",)
            found.append(Verdict(name, True, lacks, command))
        elif facts.kind == FLAT:
            found.append(Verdict(name, False, ("no column with two different values, which could be a label",)))
    return found


def _command(job: str, files: Sequence[Facts], kinds: Sequence[str]) -> str:
    several = INTERACTIONS.kind if job != "ads" else IMPRESSIONS.kind
    options = []
    for kind in kinds:
        paths = [facts.path for facts in _of(files, kind)]
        options += [f"--{kind} {path}" for path in (paths if kind == several else paths[:1])]
    return f"train {job} {' '.join(options)} --out DIR"


def _of(files: Sequence[Facts], kind: str) -> list[Facts]:
    """Files of a kind. Other tables have user or item ids too: only with a row for each, and no label, are they meant."""
    return [f for f in files if f.kind == kind and f.rows and f.found.get("one_row_each", True) and not f.labels]


def _total(files: Sequence[Facts], name: str) -> int:
    return sum(int(facts.found.get(name, 0)) for facts in files)


def _span(files: Sequence[Facts]) -> float:
    """Days from the first to the last event."""
    moments: list[Any] = [facts.found[name] for facts in files for name in ("first", "last") if name in facts.found]
    return (max(moments) - min(moments)) / DAY_MS if moments else 0.0
