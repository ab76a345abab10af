"""The sequence network: causality, padding, the inputs it depends on, and its export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.runtime import prepare

prepare(0)

from training.export import export, open_session  # noqa: E402
from training.networks.sequence import SequenceConfig, SequenceNetwork, build_sequence  # noqa: E402

CONFIG = SequenceConfig(size=8, heads=2, blocks=2, longest=6, events=True, gaps=True)
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def network() -> SequenceNetwork:
    return build_sequence(CONFIG)


def inputs(lengths: list[int], width: int) -> dict[str, np.ndarray]:
    """Histories of these lengths, the same items at the same position from the end."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(len(lengths), 6, CONFIG.size)).astype(np.float32)
    events, gaps = random.integers(1, 4, (2, len(lengths), 6))
    known = np.zeros((len(lengths), width), np.int64)
    padded = {
        "vectors": np.zeros((len(lengths), width, CONFIG.size), np.float32),
        "events": np.zeros_like(known),
        "gaps": np.zeros_like(known),
    }
    for row, length in enumerate(lengths):
        known[row, width - length :] = 1
        for name, values in (("vectors", vectors), ("events", events), ("gaps", gaps)):
            padded[name][row, width - length :] = values[row, 6 - length :]
    return {"known": known, **padded}


def user_embedding(network: SequenceNetwork, given: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(network.serving(given, training=False)["user_vector"])


def test_more_padding_leaves_the_user_embedding_unchanged(network: SequenceNetwork) -> None:
    padded = user_embedding(network, inputs([3, 1, 2], 6))
    assert user_embedding(network, inputs([3, 1, 2], 3)) == pytest.approx(padded, abs=1e-5)


def test_embeddings_at_padded_positions_are_ignored(network: SequenceNetwork) -> None:
    given = inputs([2, 4], 4)
    dirty = {name: values.copy() for name, values in given.items()}
    dirty["vectors"][0, :2] = 7.0
    assert user_embedding(network, dirty) == pytest.approx(user_embedding(network, given), abs=1e-5)


def test_later_items_do_not_change_earlier_positions(network: SequenceNetwork) -> None:
    given = inputs([5, 5], 5)
    changed = {name: values.copy() for name, values in given.items()}
    changed["vectors"][:, 4] *= -1.0
    before, after = (np.asarray(network.training(some, training=False)) for some in (given, changed))
    assert after[:, :4] == pytest.approx(before[:, :4], abs=1e-6)
    assert np.abs(after[:, 4] - before[:, 4]).max(axis=-1).min() > 1e-2


@pytest.mark.parametrize("name", ["events", "gaps"])
def test_the_user_embedding_depends_on_event_types_and_gaps(network: SequenceNetwork, name: str) -> None:
    given = inputs([4], 4)
    changed = dict(given) | {name: given[name] + 1}
    assert np.abs(user_embedding(network, changed) - user_embedding(network, given)).max() > 1e-4


def test_the_user_embedding_depends_on_the_order(network: SequenceNetwork) -> None:
    given = inputs([4], 4)
    reversed_order = dict(given) | {"vectors": given["vectors"][:, ::-1].copy()}
    assert np.abs(user_embedding(network, reversed_order) - user_embedding(network, given)).max() > 1e-3


@pytest.mark.parametrize("config", [CONFIG, SequenceConfig(size=4, blocks=1, longest=3), SequenceConfig(size=4, smooth=0.0)])
def test_the_exported_graph_agrees_with_keras_for_any_length(tmp_path: Path, config: SequenceConfig) -> None:
    network = build_sequence(config)
    path = tmp_path / "model.onnx"

    def some(width: int) -> dict[str, np.ndarray]:
        known = np.tril(np.ones((4, width), np.int64))[:, ::-1].copy()
        vectors = (RANDOM.normal(size=(4, width, config.size)) * known[..., None]).astype(np.float32)
        every = {"vectors": vectors, "known": known, "events": known, "gaps": known}
        return {name: every[name] for name in config.inputs}

    assert export(network.serving, path, some(3), relative=True) < 1e-4
    session = open_session(path)
    for width in (1, 2, 3):
        given = some(width)
        assert session.run(["user_vector"], given)[0] == pytest.approx(user_embedding(network, given), abs=1e-4)
    empty = {name: np.full_like(values, np.nan if values.dtype == np.float32 else 0) for name, values in some(2).items()}
    assert np.isfinite(session.run(["user_vector"], empty)[0]).all()


def test_smoothing_alone_is_a_weighted_mean_of_the_past() -> None:
    """With nothing fast and one span, the branch of one block is an exponential mean; here in plain numpy."""
    from training.networks.sequence import SequenceBlock

    config = SequenceConfig(size=2, heads=1, longest=4, spans=(2.0,))
    block = SequenceBlock(config)
    tokens = np.array([[[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [4.0, 2.0]]], np.float32)
    mask = np.array([[0.0, 1.0, 1.0, 1.0]], np.float32)
    block(tokens, mask)  # builds it
    block._fast.assign(np.zeros((1, 2), np.float32))
    slow = np.asarray(block._smooth(tokens, mask))[0]
    decay = np.exp(-1 / 2.0)
    weights = np.array([decay**2, decay, 1.0])
    assert slow[3] == pytest.approx(weights @ tokens[0, 1:] / weights.sum(), abs=1e-4)
    assert slow[1] == pytest.approx([1.0, 0.0], abs=1e-4)
