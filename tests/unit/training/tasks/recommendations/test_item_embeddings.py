"""The scale of content embeddings of items that come after training."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from personalization.core.csr import CsrMatrix  # noqa: E402
from training.tasks.recommendations.item_embeddings import ItemEmbeddings  # noqa: E402


def test_the_scale_of_cold_items_is_half_way_to_the_length_of_the_others() -> None:
    """Content parts of length 1; embeddings of length 4, 9 and 16, of which the middle one counts; and one that nobody had."""
    features = CsrMatrix(np.arange(5), np.zeros(4, np.int32), np.ones(4, np.float32), 1)
    own = np.array([[3.0, 0.0], [8.0, 0.0], [15.0, 0.0], [0.0, 0.0]], np.float32)
    embeddings = ItemEmbeddings(tf.Variable(own), tf.Variable(np.array([[1.0, 0.0]], np.float32)), features, 0.0)
    interacted = np.array([True, True, True, False])
    assert embeddings.cold_item_scale(interacted) == pytest.approx(3.0)
    assert embeddings.cold_item_scale(np.zeros(4, bool)) == 1.0
    assert ItemEmbeddings(tf.Variable(own), None, None, 0.0).cold_item_scale(interacted) == 1.0
