"""What the user of `train recommendations --interactions` asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, tzinfo
from pathlib import Path

from personalization.core.time import parse_timezone
from personalization.features.window import Window
from training.networks.sequence import SequenceConfig
from training.tasks.recommendations.sequence_training import SequenceFitOptions
from training.tasks.recommendations.splits import TEMPORAL


@dataclass(frozen=True)
class RecommendationData:
    """The data.

    interactions   files, merged; `mapping` (our name → their column) is for all that have none beside them
    items          table of the items
    split          ``leave-one-out`` or ``temporal``
    cutoff         where ``temporal`` cuts; None: a tenth of the interactions lies behind it
    no_test        nothing is held out for test: what is last is validation
    timezone       of timestamps without an offset, and of the cutoff
    window         history that is looked at
    """

    interactions: tuple[Path, ...]
    items: Path | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    split: str = TEMPORAL
    cutoff: date | None = None
    no_test: bool = False
    timezone: str = "UTC"
    window: Window = field(default_factory=lambda: Window(max_events=1_000, max_days=3_650))
    seed: int = 0

    @property
    def files(self) -> list[Path]:
        return [*self.interactions, *([] if self.items is None else [self.items])]

    @property
    def zone(self) -> tzinfo:
        """Raises `InvalidInput` for a name that the time zone database does not have."""
        return parse_timezone(self.timezone)


@dataclass(frozen=True)
class RecommendationTraining:
    """The model.

    out     directory of the bundle
    model   ``sequence-mix``, or ``base-rate``: popularity alone
    tune    tries of the network's settings, 0 for none
    refit   also train one on everything, in `out`/refit
    drop    share of the items that go without their own vector in a step, so that content learns to stand alone
    """

    out: Path
    model: str = "sequence-mix"
    tune: int = 0
    refit: bool = False
    drop: float = 0.1
    config: SequenceConfig = field(default_factory=SequenceConfig)
    fit: SequenceFitOptions = field(default_factory=SequenceFitOptions)
