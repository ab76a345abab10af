"""From a log, a split and a catalogue to a recommender: counts, network, mix."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from personalization.features.window import Window
from personalization.recommendations.blend import BlendWeights
from personalization.recommendations.recommender import STATIC, Encode, Recommender
from personalization.recommendations.sparse import NeighborMatrix
from training.evaluation.ranking import ranking_metrics
from training.export import open_session
from training.networks.sequence import SequenceConfig, SequenceNetwork, build_sequence
from training.tasks.recommendations import blending, counts, ranking_examples
from training.tasks.recommendations.catalogue import TrainingItems, rarity
from training.tasks.recommendations.evaluator import RankingEvaluator
from training.tasks.recommendations.fitting import SequenceFitOptions, SequenceFitReport, fit
from training.tasks.recommendations.interaction_log import InteractionLog
from training.tasks.recommendations.item_table import ItemTable, make_item_table
from training.tasks.recommendations.sequences import make_windows
from training.tasks.recommendations.splits import HeldOutBaskets, RankingSplit

_log = logging.getLogger(__name__)
_NEIGHBOUR_POWER: Final = 0.5
_STOPPING_USERS: Final = 8_000  # of the validation users, enough to see which epoch is best
_MOST_ALIKE_ITEMS: Final = 200_000
_MIX_CELLS: Final = 400_000_000  # of the scores that the mix is learnt from
_LEAST_REPEATS: Final = 0.01  # share of bought-before items below which nobody asks whether people buy again


@dataclass(frozen=True)
class Trained:
    """A recommender and how it came to be."""

    recommender: Recommender
    network: SequenceNetwork
    table: ItemTable
    report: SequenceFitReport
    config: SequenceConfig


def learn(
    log: InteractionLog,
    split: RankingSplit,
    catalogue: TrainingItems,
    config: SequenceConfig,
    options: SequenceFitOptions,
    window: Window,
    drop: float,
) -> Trained:
    """Train everything on `split.train`, stop by validation, learn the mix on `split.mix`."""
    train = log.take(split.train)
    count = counts.popularity(train)
    config = replace(config, events=_several(train.event), gaps=_gaps_differ(train))
    network = build_sequence(config)
    features = catalogue.features()
    table = make_item_table(count > 0, config.size, features, catalogue.size, drop, options.seed)
    recommender = Recommender(
        items=catalogue.items,
        vectors=table.vectors(),
        static=np.stack([np.log1p(count), np.log1p(counts.recent_popularity(train))]).astype(np.float32),
        matrices=_matrices(train, catalogue, features),
        repurchase=counts.repurchase(train),
        mix=BlendWeights(),
        encode=_encoder(network),
        inputs=config.inputs,
        longest=config.longest,
        pace=train.pace(),
        window=window,
    )
    report = _fit(recommender, network, table, log, train, split, count, options)
    recommender = replace(recommender, vectors=table.vectors())
    recommender = _mixed(recommender, log, train, split, count)
    return Trained(recommender, network, table, report, config)


def _fit(
    recommender: Recommender,
    network: SequenceNetwork,
    table: ItemTable,
    log: InteractionLog,
    train: InteractionLog,
    split: RankingSplit,
    count: NDArray[np.float64],
    options: SequenceFitOptions,
) -> SequenceFitReport:
    windows = make_windows(train, network.config.longest)
    if not len(windows.starts):
        return SequenceFitReport()
    questions = split.validation.sample(_STOPPING_USERS, options.seed)
    repeats = counts.repeat_share(train) >= _LEAST_REPEATS

    def judge() -> float:
        now = replace(recommender, vectors=table.vectors())
        ask = RankingEvaluator(log, recommender.window, count, now.vectors, repeats)
        return ranking_metrics(ask.ranks(lambda h: now.user_vectors(h) @ now.vectors.T, questions)).get("ndcg_at_10", 0.0)

    report = fit(network, table, windows, judge, options)
    _log.info("network: %d epochs, the best was %d, %.0f s", len(report.history), report.best_epoch, report.seconds)
    return report


def _mixed(
    recommender: Recommender, log: InteractionLog, train: InteractionLog, split: RankingSplit, count: NDArray[np.float64]
) -> Recommender:
    """The recommender with weights learnt on `split.mix`: of some ways to learn them the one that ranks these better.

    Buying again is one of the choices: it counts where it helps.
    """
    questions = split.mix.sample(max(1_000, _MIX_CELLS // log.items), 0)
    histories, targets = questions.histories(log, recommender.window), questions.items(log)
    objectives = [blending.ONE] + [blending.EACH] * any(len(basket) > 1 for basket in targets)
    best: tuple[float, Recommender] | None = None
    for repeat in [False] + [True] * (counts.repeat_share(train) >= _LEAST_REPEATS):
        found = ranking_examples.ranking_examples(recommender, histories, targets, repeat=repeat)
        judge = RankingEvaluator(log, recommender.window, count, recommender.vectors, repeat)
        for objective in objectives:
            mix = blending.to_mix(found.names, blending.learn(found, objective), list(recommender.matrices))
            one = replace(recommender, mix=mix, repeat_buying=repeat)
            value = ranking_metrics(judge.ranks(one.scores, questions)).get("ndcg_at_10", 0.0)
            _log.info("mix %s%s: NDCG@10 %.4f where it was learnt", objective, ", buying again" if repeat else "", value)
            if best is None or value > best[0]:
                best = (value, one)
    assert best is not None
    chosen = replace(best[1], mix=replace(best[1].mix, cold=_cold(best[1], log, questions, count)))
    return replace(chosen, mix=blending.calibrate(chosen, histories, targets))


def _cold(
    recommender: Recommender, log: InteractionLog, questions: HeldOutBaskets, count: NDArray[np.float64]
) -> dict[str, float]:
    """What is shown to somebody new: whichever of the static scores alone ranks the held-out baskets better."""
    judge = RankingEvaluator(log, recommender.window, count, recommender.vectors, recommender.repeat_buying)
    values = []
    for row in recommender.static:
        ranks = judge.ranks(lambda h, row=row: np.repeat(row[None], len(h), axis=0), questions)  # type: ignore[misc]
        values.append(ranking_metrics(ranks).get("ndcg_at_10", 0.0))
    return {STATIC[int(np.argmax(values))]: 1.0}


def _matrices(train: InteractionLog, catalogue: TrainingItems, features: NeighborMatrix | None) -> dict[str, NeighborMatrix]:
    matrices = {
        "together": counts.neighbours(counts.cosine_together(train), _NEIGHBOUR_POWER),
        "next": counts.neighbours(counts.transitions(train), _NEIGHBOUR_POWER),
    }
    if features is not None and train.items <= _MOST_ALIKE_ITEMS:
        matrices["alike"] = counts.neighbours(counts.cosine_alike(features, rarity(features, catalogue.size)))
    return matrices


def encoder_from(path: Path) -> Encode:
    """User vectors by the exported graph."""
    session = open_session(path)
    return lambda inputs: np.asarray(session.run(["user_vector"], dict(inputs))[0], np.float32)


def _encoder(network: SequenceNetwork) -> Encode:
    names = network.config.inputs
    kinds = {name: tf.float32 if name == "vectors" else tf.int64 for name in names}
    shapes = {name: (None, None, network.config.size) if name == "vectors" else (None, None) for name in names}
    signature = {name: tf.TensorSpec(shapes[name], kinds[name]) for name in names}
    run = tf.function(lambda inputs: network.serving(inputs, training=False)["user_vector"], input_signature=[signature])
    return lambda inputs: run({name: tf.constant(inputs[name], kinds[name]) for name in names}).numpy()


def _several(events: NDArray[np.int8]) -> bool:
    """Whether event types say something: more than one in at least 1 % of the interactions."""
    shares = np.bincount(events) / max(len(events), 1)
    return bool(np.sum(shares > 0.01) > 1)


def _gaps_differ(train: InteractionLog) -> bool:
    """Whether times are more than an order: the gaps between a user's baskets are not all (but 1 %) the same."""
    new = np.flatnonzero((np.diff(train.user) == 0) & (np.diff(train.basket) > 0))
    if not len(new):
        return False
    gaps = np.diff(train.time)[new]
    _, number = np.unique(gaps, return_counts=True)
    return bool(number.max() < 0.99 * len(gaps))
