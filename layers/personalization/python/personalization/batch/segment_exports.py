"""Exports of a job: the users of each segment by predicted behaviour, and a summary of all segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from personalization.bundles.bundle import Bundle
from personalization.core.schema import INTERACTIONS, USER_ID, job_of
from personalization.profiles.behaviour import SEGMENTS, SegmentDefinition, SegmentThresholds
from personalization.profiles.rfm import NAMES, segment_spread

SEGMENTS_JSON: Final = "segments.json"
# What is averaged over a segment, by its name in a profile.
_MEANS: Final = {"probability": "probability", "churn_risk": "churn_risk", "expected_spend": "expected_spend"}


@dataclass
class _Sums:
    """Sums of one segment; where a profile lacks a number, its mean is unknown."""

    users: int = 0
    probability: float = 0.0
    churn_risk: float = 0.0
    expected_spend: float | None = 0.0

    def add(self, profile: Mapping[str, Any]) -> None:
        self.users += 1
        self.probability += profile["probability"]
        self.churn_risk += profile["churn_risk"]
        spend = profile.get("expected_spend")
        self.expected_spend = None if spend is None or self.expected_spend is None else self.expected_spend + spend

    def means(self) -> dict[str, float | None]:
        return {f"mean_{name}": _mean(getattr(self, attribute), self.users) for name, attribute in _MEANS.items()}


class SegmentExports(AbstractContextManager["SegmentExports"]):
    """``segment-<slug>.jsonl`` in a directory: the ids of a segment's users, one for each line; complete on exit."""

    def __init__(self, directory: Path, thresholds: SegmentThresholds) -> None:
        self._directory, self._thresholds = directory, thresholds
        self._by_name = {segment.name: segment for segment in SEGMENTS}
        self._sums = {segment.name: _Sums() for segment in SEGMENTS}
        self._rfm = {name: _Sums() for name in NAMES}
        self._all = _Sums()
        self._files: dict[str, BinaryIO] = {}
        self._stack = ExitStack()

    @classmethod
    def for_bundle(cls, directory: Path, bundle: Bundle) -> SegmentExports | None:
        """The exports of a job; `None` for a bundle without segments."""
        if job_of(bundle.name) != "profiles" or bundle.kind != INTERACTIONS.kind:
            return None
        thresholds = SegmentThresholds.from_manifest(bundle.manifest)
        return cls(directory, thresholds) if thresholds else None

    def add(self, profiles: Sequence[Mapping[str, Any]]) -> None:
        """Write and sum up the profiles of different users."""
        for profile in profiles:
            name = profile["behaviour"]["name"]
            self._sums[name].add(profile)
            self._all.add(profile)
            if profile["segment"]:
                self._rfm[profile["segment"]["name"]].add(profile)
            if name not in self._files:
                path = self._directory / export_name(self._by_name[name])
                self._files[name] = self._stack.enter_context(path.open("wb"))
            self._files[name].write(orjson.dumps({USER_ID: profile[USER_ID]}, option=orjson.OPT_APPEND_NEWLINE))

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def files(self) -> list[str]:
        """Names of the exports; a segment without users has none."""
        return [export_name(segment) for segment in SEGMENTS if segment.name in self._files]

    def summary(self, source: Mapping[str, Any], prefix: str) -> bytes:
        """JSON of all segments. It holds no user id, no clock and no duration.

        source   the model, file and moment that the summary is about
        prefix   prefix of the exports' keys
        """
        overall = {"users": self._all.users} | self._all.means()
        segments = [self._segment(segment, overall, prefix) for segment in SEGMENTS]
        diversity = segment_spread({name: sums.users for name, sums in self._sums.items()})
        content = {**source, **overall, **diversity, "segments": segments, "rfm": self._by_rfm()}
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def _by_rfm(self) -> dict[str, Any] | None:
        """The same users by RFM segment, without exports; None where the bundle has no RFM quintiles."""
        sizes = {name: sums.users for name, sums in self._rfm.items()}
        if not any(sizes.values()):
            return None
        return {
            **segment_spread(sizes),
            "segments": [
                {"name": name, "size": sums.users, "share": _mean(sums.users, self._all.users), **sums.means()}
                for name, sums in self._rfm.items()
            ],
        }

    def _segment(self, segment: SegmentDefinition, overall: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        sums, thresholds = self._sums[segment.name], self._thresholds
        means = sums.means()
        return {
            "name": segment.name,
            "size": sums.users,
            "share": _mean(sums.users, self._all.users),
            **means,
            "rule": segment.rule_with(thresholds),
            "action": segment.action,
            "evidence": _evidence(segment, means, overall, thresholds) if sums.users else None,
            "export": prefix + export_name(segment) if sums.users else None,
        }


def export_name(segment: SegmentDefinition) -> str:
    return f"segment-{segment.slug}.jsonl"


def _evidence(
    segment: SegmentDefinition, means: Mapping[str, Any], overall: Mapping[str, Any], thresholds: SegmentThresholds
) -> str:
    """One sentence: the reason for the action, with the means of this job."""
    facts = [
        f"{means['mean_probability']:.1%} are expected to buy within {thresholds.horizon} days "
        f"(all users: {overall['mean_probability']:.1%})",
        f"{means['mean_churn_risk']:.1%} to stay away for {thresholds.churn} ({overall['mean_churn_risk']:.1%})",
    ]
    if means["mean_expected_spend"] is not None and overall["mean_expected_spend"] is not None:
        facts.append(f"to spend {means['mean_expected_spend']:,.2f} each ({overall['mean_expected_spend']:,.2f})")
    reason = segment.reason[:1].upper() + segment.reason[1:]
    return f"{reason}: {', '.join(facts)}."


def _mean(total: float | None, count: int) -> float | None:
    return round(total / count, 6) if count and total is not None else None
