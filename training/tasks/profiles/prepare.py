"""From files to examples: events read, merged and cleaned, cuts chosen, users described and labelled at each."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from personalization.core.errors import InvalidInput
from personalization.core.events import Events
from personalization.features.lifetime import is_purchase
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from training.bundle_writer import fingerprint
from training.io.interactions import read_interactions
from training.io.point_in_time import Cut, TemporalSplit, temporal_split
from training.io.tables import read_attributes, read_categories, read_id_map
from training.tasks.profiles.columns import decide_features
from training.tasks.profiles.examples import LabelSpec, Sample, Sampler, stack
from training.tasks.profiles.labels import frequent_categories
from training.tasks.profiles.options import ProfileData
from training.tasks.tabular.columns import ColumnDecision, decide_columns

MAX_CATEGORIES: Final = 50
CATEGORY_COVER: Final = 0.95
VALIDATION_SHARE: Final = 0.2  # of the users, where training and validation share their cuts
_LEAST_USERS: Final = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedProfiles:
    """train, valid, test   rows; `test` is None where nothing is held out
    latest              rows of every user at the cutoff: what a shop's customers look like now
    category_of_item    empty without an items file
    decisions           one for each feature and attribute
    report              what became of the data, for metrics.json
    """

    question: LabelSpec
    cuts: TemporalSplit
    encoder: TableEncoder
    train: Sample
    valid: Sample
    test: Sample | None
    latest: Sample
    category_of_item: dict[str, str]
    decisions: list[ColumnDecision]
    currency: str | None
    report: dict[str, Any]
    fingerprint: str


def prepare_profiles(data: ProfileData, now: datetime | None = None) -> PreparedProfiles:
    """Raises `InvalidInput` for what the user can put right: no purchases, too short a history, too few users."""
    zone = data.zone
    user_ids = read_id_map(data.id_map) if data.id_map else {}
    events, report, currency = _read(data, user_ids, now)
    if not is_purchase(events).any():
        kinds = ", ".join(report["event_types"])
        raise InvalidInput(f"expected events of type purchase, to learn who will buy; received {kinds}")
    category_of_item = read_categories(data.items) if data.items else {}
    events = events.with_categories(category_of_item)
    cuts = temporal_split(
        int(events.timestamp.min()),
        int(events.timestamp.max()),
        zone,
        horizon=data.horizon,
        cutoff=data.cutoff,
        hold_out_test=not data.no_test,
    )
    for note in cuts.notes:
        _log.info("%s", note)
    attributes = read_attributes(data.users, events.users, user_ids=user_ids, zone=zone) if data.users else {}
    question = LabelSpec(
        days=data.days,
        horizon=data.horizon,
        window=data.window,
        zone=zone,
        categories=frequent_categories(events, cuts.cutoff, MAX_CATEGORIES, CATEGORY_COVER),
        attributes={ATTRIBUTE_PREFIX + name: content for name, content in attributes.items()},
    )
    sampler = Sampler(events, question)
    cuts = _thinned(cuts, len(events.users), data.max_rows)
    train, valid = _split(sampler, cuts, len(events.users), data.seed)
    test = sampler.at(cuts.test) if cuts.test else None
    latest = test if test is not None else sampler.at(Cut(cuts.cutoff, cuts.cutoff))
    if len(train) < _LEAST_USERS or not len(valid):
        raise InvalidInput(f"expected at least {_LEAST_USERS} users before the training cuts, received {len(train)}")
    print_ = fingerprint(data.files)
    decisions = decide_features({name: train.columns[name] for name in train.columns if name not in question.attributes})
    decisions += _decide_attributes(question.attributes, train.user, salt=_salt(print_, data.seed))
    encoder = TableEncoder(tuple(d.column for d in decisions if d.column is not None), zone)
    report |= {"rows": {"train": len(train), "validation": len(valid), "test": 0 if test is None else len(test)}}
    return PreparedProfiles(
        question, cuts, encoder, train, valid, test, latest, category_of_item, decisions, currency, report, print_
    )


def _read(data: ProfileData, user_ids: Mapping[str, str], now: datetime | None) -> tuple[Events, dict[str, Any], str | None]:
    """Events, sorted, with the report and the currency. Of more users or events than is good for memory, a sample of users."""
    sources = read_interactions(data.interactions, mapping=data.mapping, user_ids=user_ids, zone=data.zone, now=now)
    events, report = sources.events, dict(sources.report)
    users = len(events.users)
    share = min(1.0, data.max_users / users, data.max_events / len(events))
    if share < 1.0:
        report["sampled_users"] = max(1, round(share * users))
        _log.info("%d users: %d of them are sampled", users, report["sampled_users"])
        chosen = np.zeros(users, dtype=bool)
        chosen[np.random.default_rng(data.seed).choice(users, report["sampled_users"], replace=False)] = True
        events = events.take(chosen[events.user]).compact()
    return events.sorted(), report, sources.currency


def _thinned(cuts: TemporalSplit, users: int, max_rows: int) -> TemporalSplit:
    """Fewer training cuts where users × cuts are too many rows: evenly spread, the newest among them."""
    most = max(2, max_rows // max(users, 1))
    if len(cuts.train) <= most:
        return cuts
    kept = np.unique(np.linspace(len(cuts.train) - 1, 0, most).round().astype(int))
    train = tuple(cuts.train[index] for index in kept)
    return replace(cuts, train=train, validation=train if cuts.by_user else cuts.validation)


def _split(sampler: Sampler, cuts: TemporalSplit, users: int, seed: int) -> tuple[Sample, Sample]:
    train = stack([sampler.at(cut) for cut in cuts.train])
    if not cuts.by_user:
        return train, stack([sampler.at(cut) for cut in cuts.validation])
    held_out = np.random.default_rng(seed).random(users) < VALIDATION_SHARE
    rows = held_out[train.user]
    return train.take(~rows), train.take(rows)


def _decide_attributes(attributes: Mapping[str, NDArray[Any]], rows: NDArray[np.int64], salt: str) -> list[ColumnDecision]:
    """By the users of the training rows, each counted once."""
    users = np.unique(rows)
    table: dict[str, Sequence[Any]] = {name: content[users].tolist() for name, content in attributes.items()}
    return decide_columns(table, len(users), salt=salt)


def _salt(print_: str, seed: int) -> str:
    return hashlib.blake2b(f"{print_}/{seed}".encode(), digest_size=16).hexdigest()
