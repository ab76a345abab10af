"""From prepared data to a recommender: train the sequence network, learn the blend of its scores with item statistics."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Final

import numpy as np
import tensorflow as tf

from personalization.recommendations.blend import BlendWeights
from personalization.recommendations.recommender import STATIC, Encode, Recommender
from personalization.recommendations.scoring import evaluation_scores
from training.fitting import FitReport
from training.networks.sequence import SequenceConfig, SequenceNetwork, build_sequence
from training.task import TrainOptions
from training.tasks.recommendations.blending import (
    LOGISTIC,
    SOFTMAX,
    blend_weights,
    calibrate,
    fit_weights,
    ranking_examples,
)
from training.tasks.recommendations.evaluation import RankingEvaluator, sequence_scorer
from training.tasks.recommendations.interaction_log import InteractionLog
from training.tasks.recommendations.item_embeddings import ItemEmbeddings, new_embeddings
from training.tasks.recommendations.prepare import PreparedRecommendations
from training.tasks.recommendations.sequence_training import VALIDATION_METRIC, fit_sequence_network
from training.tasks.recommendations.sequence_windows import sequence_windows
from training.tasks.recommendations.splits import HeldOutBaskets

_log = logging.getLogger(__name__)
_STOPPING_USERS: Final = 8_000  # of the validation users; enough to find the best epoch
_BLEND_CELLS: Final = 400_000_000  # of the scores that the blend is learned from
_MIN_EVENT_SHARE: Final = 0.01

SequenceOptions = TrainOptions[SequenceConfig]


@dataclass(frozen=True)
class SequenceModel:
    """A sequence network and the item embeddings that are trained with it."""

    network: SequenceNetwork
    embeddings: ItemEmbeddings
    report: FitReport = field(default_factory=FitReport)

    @property
    def validation_ndcg(self) -> float:
        """NDCG@10 of the network alone on validation users, in the best epoch; 0 without one."""
        return max((epoch[VALIDATION_METRIC] for epoch in self.report.history), default=0.0)

    @cached_property
    def encode(self) -> Encode:
        """The user encoder in Keras, compiled once for all shapes."""
        config = self.network.config
        signature = {
            name: tf.TensorSpec((None, None, config.size), tf.float32)
            if name == "vectors"
            else tf.TensorSpec((None, None), tf.int64)
            for name in config.inputs
        }
        serve = tf.function(
            lambda inputs: self.network.serving(inputs, training=False)["user_vector"], input_signature=[signature]
        )
        return lambda inputs: serve({name: tf.constant(inputs[name], spec.dtype) for name, spec in signature.items()}).numpy()


def untrained_model(prepared: PreparedRecommendations, options: SequenceOptions) -> SequenceModel:
    """A new network with the inputs that the data has, and new embeddings."""
    train = prepared.train
    config = replace(options.config, events=_has_event_types(train), gaps=_has_time_gaps(train))
    interacted = prepared.statistics.popularity > 0
    network = build_sequence(config)
    return SequenceModel(network, new_embeddings(interacted, config, prepared.items, options.fit.seed))


def train_sequence_model(prepared: PreparedRecommendations, options: SequenceOptions) -> SequenceModel:
    """Train on the training interactions; keep the epoch with the best NDCG@10 of the network alone on validation users."""
    model = untrained_model(prepared, options)
    targets = prepared.split.validation.sample(_STOPPING_USERS, options.fit.seed)

    def validation_ndcg() -> float:
        recommender = _assemble(prepared, model)
        evaluator = _evaluator(prepared, recommender, prepared.statistics.repeat_buying)
        return evaluator.ndcg_at_10(sequence_scorer(recommender), targets)

    windows = sequence_windows(prepared.train, model.network.config.longest)
    report = fit_sequence_network(model.network, model.embeddings, windows, validation_ndcg, options.fit)
    _log.info("network: %d epochs, the best was %d, %.0f s", len(report.history), report.best_epoch, report.seconds)
    return replace(model, report=report)


def learn_blend(prepared: PreparedRecommendations, model: SequenceModel) -> Recommender:
    """The recommender with the blend that ranks the held-out baskets best: by objective, with or without repeat buying."""
    log, statistics = prepared.log, prepared.statistics
    held_out = prepared.split.blend.sample(max(1_000, _BLEND_CELLS // log.num_items), 0)
    histories, targets = held_out.histories(log, prepared.data.window), held_out.items(log)
    objectives = [SOFTMAX, LOGISTIC] if any(len(basket) > 1 for basket in targets) else [SOFTMAX]
    best, best_value = _assemble(prepared, model), -1.0
    components = best
    for repeat in [False, True] if statistics.repeat_buying else [False]:
        examples = ranking_examples(components, histories, targets, repeat=repeat)
        evaluator = _evaluator(prepared, components, repeat)
        for objective in objectives:
            blend = blend_weights(examples.names, fit_weights(examples, objective), list(components.matrices))
            recommender = replace(components, blend=blend, repeat_buying=repeat)
            value = evaluator.ndcg_at_10(partial(evaluation_scores, recommender), held_out)
            _log.info("blend by %s%s: NDCG@10 %.4f", objective, ", with repeat buying" if repeat else "", value)
            if value > best_value:
                best, best_value = recommender, value
    cold = {_best_static(prepared, best, held_out): 1.0}
    scale = model.embeddings.cold_item_scale(statistics.popularity > 0)
    best = replace(best, blend=replace(best.blend, cold=cold, cold_item_scale=scale))
    return replace(best, blend=calibrate(best, histories, targets))


def popularity_recommender(prepared: PreparedRecommendations, model: SequenceModel) -> Recommender:
    """The base rate: items by popularity, for users with and without a history."""
    blend = BlendWeights(sequence=0.0, static={"popularity": 1.0}, cold={"popularity": 1.0})
    return replace(_assemble(prepared, model), matrices={}, blend=blend)


def _assemble(prepared: PreparedRecommendations, model: SequenceModel) -> Recommender:
    """A recommender with the weights that the model has now; the blend is the default one."""
    config, statistics = model.network.config, prepared.statistics
    return Recommender(
        items=prepared.items.ids,
        vectors=model.embeddings.numpy(),
        static=statistics.static_scores,
        matrices=statistics.neighbors,
        repurchase=statistics.repurchase,
        blend=BlendWeights(),
        encode=model.encode,
        inputs=config.inputs,
        longest=config.longest,
        pace=prepared.train.pace,
        window=prepared.data.window,
    )


def _evaluator(prepared: PreparedRecommendations, recommender: Recommender, repeat_buying: bool) -> RankingEvaluator:
    popularity = prepared.statistics.popularity
    return RankingEvaluator(prepared.log, recommender.window, popularity, recommender.vectors, repeat_buying)


def _best_static(prepared: PreparedRecommendations, recommender: Recommender, held_out: HeldOutBaskets) -> str:
    """The static score that alone ranks the held-out baskets best: users without a history get items by it."""
    evaluator = _evaluator(prepared, recommender, recommender.repeat_buying)
    values = [
        evaluator.ndcg_at_10(lambda histories, row=row: np.repeat(row[None], len(histories), axis=0), held_out)  # type: ignore[misc]
        for row in recommender.static
    ]
    return STATIC[int(np.argmax(values))]


def _has_event_types(train: InteractionLog) -> bool:
    """Whether two event types or more each have 1 % of the interactions."""
    shares = np.bincount(train.event) / max(len(train), 1)
    return bool(np.sum(shares > _MIN_EVENT_SHARE) > 1)


def _has_time_gaps(train: InteractionLog) -> bool:
    """Whether times are more than an order: fewer than 99 % of the gaps between a user's baskets are the same."""
    gaps = train.basket_gaps
    return bool(len(gaps) and np.unique(gaps, return_counts=True)[1].max() < 0.99 * len(gaps))
