"""The sequence network: from a user's history to a user embedding.

Each block has causal self-attention over the items of a history (SASRec, Kang & McAuley 2018) and beside it a branch that
splits the sequence into slow and fast parts and reweighs them (the idea of BSARec, Shin et al. 2024, and WEARec). Those papers
take the slow part from a Fourier transform over the whole padded window. Here it comes from causal exponential means: all
positions are trained at once, the result does not depend on the padding, and the graph is a product of small matrices.

Item embeddings are an input, so that new items need no new graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from personalization.core.schema import EVENT_TYPES
from personalization.recommendations.components import GAP_BUCKETS

_MASKED_LOGIT = -1e9


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """Sizes and regularisation.

    size           of item and user embeddings
    longest        newest items of a history that are inputs
    dropout        of tokens, attention and branches
    smooth         share of the slow/fast branch in a block, 0 … 1
    spans          of its exponential means, in items
    item_dropout   share of the items whose own embedding is left out in a training step, where items have content
    events, gaps   whether event types and time gaps are inputs
    """

    size: int = 64
    blocks: int = 2
    heads: int = 2
    longest: int = 50
    dropout: float = 0.5
    smooth: float = 0.7
    spans: tuple[float, ...] = (1.5, 3.0, 8.0, 25.0)
    item_dropout: float = 0.1
    events: bool = False
    gaps: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs."""
        return ("vectors", "known", *(("events",) if self.events else ()), *(("gaps",) if self.gaps else ()))


@dataclass(frozen=True)
class SequenceNetwork:
    """Two views of the same weights.

    training   inputs → (N, L, D), a user embedding after each item
    serving    inputs → {"user_vector": (N, D)}, the user embedding after the newest item
    """

    training: Any
    serving: Any
    config: SequenceConfig


def build_sequence(config: SequenceConfig) -> SequenceNetwork:
    """A new network. Its inputs are those of `components.encoder_inputs`, padded on the left."""
    inputs = {
        "vectors": keras.Input((None, config.size), name="vectors", dtype="float32"),
        "known": keras.Input((None,), name="known", dtype="int64"),
    }
    for name in config.inputs[2:]:
        inputs[name] = keras.Input((None,), name=name, dtype="int64")
    tokens, mask = HistoryTokens(config, name="tokens")(inputs)
    for number in range(config.blocks):
        tokens = SequenceBlock(config, name=f"block_{number}")(tokens, mask)
    newest = NewestPosition(name="user_vector")(tokens)
    return SequenceNetwork(keras.Model(inputs, tokens), keras.Model(inputs, {"user_vector": newest}), config)


class HistoryTokens(keras.layers.Layer):
    """Inputs → tokens (N, L, D) and mask (N, L): normalised sums of the embeddings of item, position, event type and gap."""

    def __init__(self, config: SequenceConfig, **options: Any) -> None:
        super().__init__(**options)
        self._config = config
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self._position = self.add_weight(shape=(config.longest, config.size), initializer=small, name="place_embedding")
        if config.events:
            shape = (len(EVENT_TYPES) + 1, config.size)
            self._event = self.add_weight(shape=shape, initializer=small, name="event_embedding")
        if config.gaps:
            self._gap = self.add_weight(shape=(GAP_BUCKETS, config.size), initializer=small, name="gap_embedding")
        self._norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self._drop = keras.layers.Dropout(config.dropout)

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> tuple[Any, Any]:
        mask = ops.cast(inputs["known"] > 0, "float32")
        present = ops.expand_dims(mask, -1)
        vectors = inputs["vectors"]
        # Both sides have one shape: tf2onnx 1.17 exports a broadcast `where` as a product, and NaN × 0 is NaN.
        vectors = ops.where(ops.isnan(vectors), ops.zeros_like(vectors), vectors)
        length = ops.shape(inputs["known"])[1]
        tokens = vectors + self._position[self._config.longest - length :]  # the newest item has the last position
        if self._config.events:
            tokens = tokens + ops.take(self._event, inputs["events"], axis=0)
        if self._config.gaps:
            tokens = tokens + ops.take(self._gap, inputs["gaps"], axis=0)
        return self._drop(self._norm(tokens), training=training) * present, mask


class SequenceBlock(keras.layers.Layer):
    """Attention and the slow/fast branch side by side, then two dense layers; each residual and then normalised."""

    def __init__(self, config: SequenceConfig, **options: Any) -> None:
        super().__init__(**options)
        self._config = config
        size, share = config.size, config.smooth
        small = keras.initializers.TruncatedNormal(stddev=0.02)

        def dense(units: int, name: str) -> Any:
            return keras.layers.Dense(units, kernel_initializer=small, name=name)

        def norm(name: str) -> Any:
            return keras.layers.LayerNormalization(epsilon=1e-6, name=name)

        if share < 1.0:
            self._query, self._key = dense(size, "query"), dense(size, "key")
            self._value, self._out = dense(size, "value"), dense(size, "out")
            self._attention_norm = norm("attention_norm")
        if share > 0.0:
            rates = keras.initializers.Constant(np.log(1.0 / np.array(config.spans, np.float32)))
            self._rate = self.add_weight(shape=(len(config.spans),), initializer=rates, name="log_rate")
            spread = keras.initializers.RandomNormal(stddev=0.3)
            self._fast = self.add_weight(shape=(len(config.spans), size), initializer=spread, name="fast_share")
            self._smooth_norm = norm("smooth_norm")
        self._wide, self._narrow, self._dense_norm = dense(4 * size, "wide"), dense(size, "narrow"), norm("dense_norm")
        self._drop = keras.layers.Dropout(config.dropout)
        distance = np.arange(config.longest)[:, None] - np.arange(config.longest)[None, :]
        self._distance = np.maximum(distance, 0).astype(np.float32)
        self._past = (distance >= 0).astype(np.float32)

    def call(self, tokens: Any, mask: Any, training: bool | None = None) -> Any:
        share, combined = self._config.smooth, 0.0
        if share < 1.0:
            attended = self._drop(self._attend(tokens, mask, training), training=training)
            combined = (1.0 - share) * self._attention_norm(tokens + attended)
        if share > 0.0:
            smoothed = self._drop(self._smooth(tokens, mask), training=training)
            combined = combined + share * self._smooth_norm(tokens + smoothed)
        dense = self._narrow(keras.activations.gelu(self._wide(combined), approximate=True))  # the exact gelu does not export
        return self._dense_norm(combined + self._drop(dense, training=training))

    def _attend(self, tokens: Any, mask: Any, training: bool | None) -> Any:
        heads, size = self._config.heads, self._config.size
        length = ops.shape(tokens)[1]

        def split(values: Any) -> Any:
            return ops.transpose(ops.reshape(values, (-1, length, heads, size // heads)), (0, 2, 1, 3))

        logits = ops.matmul(split(self._query(tokens)), ops.transpose(split(self._key(tokens)), (0, 1, 3, 2)))
        past = ops.convert_to_tensor(self._past)[:length, :length]
        seen = past[None, None] * mask[:, None, None, :]
        weights = ops.softmax(logits / (size // heads) ** 0.5 + (1.0 - seen) * _MASKED_LOGIT, axis=-1)
        attended = ops.matmul(self._drop(weights, training=training), split(self._value(tokens)))
        return self._out(ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, length, size)))

    def _smooth(self, tokens: Any, mask: Any) -> Any:
        """Mean over the spans of slow + fast_share² · (token − slow), where slow is an exponential mean of past tokens."""
        length = ops.shape(tokens)[1]
        distance = ops.convert_to_tensor(self._distance)[:length, :length]
        past = ops.convert_to_tensor(self._past)[:length, :length]
        kernels = ops.exp(-distance[None] * ops.exp(self._rate)[:, None, None]) * past[None]  # (S, L, L)
        seen = kernels[None] * mask[:, None, None, :]  # (N, S, L, L)
        slow = ops.matmul(seen, ops.expand_dims(tokens, 1)) / (ops.sum(seen, axis=-1, keepdims=True) + 1e-6)
        fast = ops.expand_dims(tokens, 1) - slow
        return ops.mean(slow + ops.square(self._fast)[None, :, None, :] * fast, axis=1)


class NewestPosition(keras.layers.Layer):
    """(N, L, D) → (N, D): the last position, which holds the newest item."""

    def call(self, tokens: Any) -> Any:
        return tokens[:, -1]
