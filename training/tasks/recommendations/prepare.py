"""From files to the interaction log, its split, the items, and the statistics of the training interactions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from personalization.core.time import parse_timezone
from personalization.features.history_window import HistoryWindow
from training.bundle_writer import fingerprint
from training.io.interactions import read_interactions
from training.tasks.recommendations.interaction_log import InteractionLog, build_log
from training.tasks.recommendations.item_statistics import ItemStatistics, count_statistics
from training.tasks.recommendations.splits import LEAVE_ONE_OUT, TEMPORAL, RankingSplit, leave_one_out, temporal
from training.tasks.recommendations.training_items import TrainingItems, read_items

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecommendationData:
    """The files and how they are split.

    interactions   files, merged
    items          table of the items
    mapping        column names in the files by ours, for files without a mapping of their own beside them
    split          ``leave-one-out`` or ``temporal``
    cutoff         where ``temporal`` cuts; None: a tenth of the interactions lie after it
    no_test        nothing is held out for test; each user's last target is validation
    timezone       of timestamps without an offset, and of the cutoff
    window         history that the bundle uses
    """

    interactions: tuple[Path, ...]
    items: Path | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    split: str = TEMPORAL
    cutoff: date | None = None
    no_test: bool = False
    timezone: str = "UTC"
    window: HistoryWindow = field(default_factory=lambda: HistoryWindow(max_events=1_000, max_days=3_650))
    seed: int = 0

    @property
    def files(self) -> list[Path]:
        return [*self.interactions, *([] if self.items is None else [self.items])]

    @property
    def zone(self) -> tzinfo:
        """Raises `InvalidInput` for a name that the time zone database does not have."""
        return parse_timezone(self.timezone)


@dataclass(frozen=True)
class PreparedRecommendations:
    """The data, ready to train on.

    log      all interactions; `train` holds those of `split.train`
    report   rows used, rejected and cleaned, by file
    """

    data: RecommendationData
    log: InteractionLog
    split: RankingSplit
    items: TrainingItems
    report: dict[str, Any]
    fingerprint: str

    @cached_property
    def train(self) -> InteractionLog:
        """The training interactions."""
        return self.log.take(self.split.train)

    @cached_property
    def statistics(self) -> ItemStatistics:
        """Item statistics of the training interactions."""
        return count_statistics(self.train, self.items)


def prepare_recommendations(data: RecommendationData) -> PreparedRecommendations:
    """Read, clean, sort and split. Raises `InvalidInput` for what the user can put right."""
    sources = read_interactions(data.interactions, mapping=data.mapping, zone=data.zone)
    events = sources.events
    used = np.zeros(len(events.items), bool)
    used[events.item[events.item >= 0]] = True
    code_of_item = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)
    ids = [item for item, is_used in zip(events.items, used, strict=True) if is_used]
    items = read_items(ids, data.items, data.mapping)
    log = build_log(events, code_of_item, len(items))
    if data.split == LEAVE_ONE_OUT:
        split = leave_one_out(log, test=not data.no_test, seed=data.seed)
    else:
        cutoff = None
        if data.cutoff is not None:
            cutoff = round(datetime.combine(data.cutoff, time(), data.zone).timestamp() * 1000)
        split = temporal(log, cutoff, test=not data.no_test, seed=data.seed)
    _log.info(
        "%s interactions of %s users with %s items; %s to train on, %s users to validate on, %s to test on",
        f"{len(log):,}", f"{log.num_users:,}", f"{log.num_items:,}", f"{int(split.train.sum()):,}",
        f"{len(split.validation):,}", f"{0 if split.test is None else len(split.test):,}",
    )  # fmt: skip
    return PreparedRecommendations(data, log, split, items, sources.report, fingerprint(data.files))
