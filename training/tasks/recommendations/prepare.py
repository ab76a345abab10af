"""From files to a log, a split and a catalogue."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

import numpy as np

from training.bundle_writer import fingerprint
from training.io.interactions import read_interactions
from training.tasks.recommendations.catalogue import TrainingItems, read_catalogue
from training.tasks.recommendations.interaction_log import InteractionLog, make_log
from training.tasks.recommendations.options import RecommendationData
from training.tasks.recommendations.splits import LEAVE_ONE_OUT, RankingSplit, leave_one_out, temporal

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRecommendations:
    """The data, ready to learn from."""

    log: InteractionLog
    split: RankingSplit
    catalogue: TrainingItems
    report: dict[str, Any]
    fingerprint: str


def prepare_recommendations(data: RecommendationData) -> PreparedRecommendations:
    """Read, clean, order and split. Raises `InvalidInput` for what the user can put right."""
    sources = read_interactions(data.interactions, mapping=data.mapping, zone=data.zone)
    events = sources.events
    used = np.zeros(len(events.items), bool)
    used[events.item[events.item >= 0]] = True
    code_of_item = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)
    names = [item for item, known in zip(events.items, used, strict=True) if known]
    catalogue = read_catalogue(names, data.items, data.mapping)
    log = make_log(events, code_of_item, len(catalogue.items))
    if data.split == LEAVE_ONE_OUT:
        split = leave_one_out(log, test=not data.no_test, seed=data.seed)
    else:
        cutoff = None
        if data.cutoff is not None:
            cutoff = round(datetime.combine(data.cutoff, time(), data.zone).timestamp() * 1000)
        split = temporal(log, cutoff, test=not data.no_test, seed=data.seed)
    _log.info(
        "%s interactions of %s users with %s items; %s to train on, %s users to validate on, %s to test on",
        f"{len(log):,}", f"{log.users:,}", f"{log.items:,}", f"{int(split.train.sum()):,}", f"{len(split.validation):,}",
        f"{0 if split.test is None else len(split.test):,}",
    )  # fmt: skip
    return PreparedRecommendations(log, split, catalogue, sources.report, fingerprint(data.files))
