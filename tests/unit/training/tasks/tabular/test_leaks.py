"""Columns that leak the label."""

from __future__ import annotations

import numpy as np

from personalization.core.encoder import Column, TableEncoder
from training.tasks.tabular.label import LEAKAGE_AUC, single_column_auc

LABELS = np.tile([0.0, 0.0, 1.0], 200)
NOISE = np.random.default_rng(0).normal(size=600).astype(np.float32)


def auc_alone(kind: str, column: np.ndarray) -> float:
    encoder = TableEncoder((Column("x", "numeric") if kind == "numeric" else Column("x", "categorical", ("a", "b", "c")),))
    inputs = {kind: column[:, None].astype(np.float32 if kind == "numeric" else np.int64)}
    return single_column_auc(encoder, inputs, LABELS)["x"]


def test_a_copy_of_the_label_leaks_it_however_it_is_encoded() -> None:
    assert auc_alone("numeric", LABELS * 17 - 3) >= LEAKAGE_AUC
    assert auc_alone("categorical", 2 + LABELS) >= LEAKAGE_AUC
    assert auc_alone("numeric", np.abs(LABELS * 4 + 0.1 * NOISE)) >= LEAKAGE_AUC


def test_a_column_that_is_filled_in_for_one_class_only_leaks_the_label() -> None:
    assert auc_alone("numeric", np.where(LABELS == 1, NOISE, np.nan)) >= LEAKAGE_AUC


def test_a_u_shaped_column_is_found_although_its_order_does_not_predict() -> None:
    assert auc_alone("numeric", np.where(LABELS == 1, 0.0, np.sign(NOISE) * 5) + 0.01 * NOISE) >= LEAKAGE_AUC


def test_ordinary_columns_do_not_leak() -> None:
    assert 0.4 < auc_alone("numeric", NOISE) < 0.6
    assert auc_alone("numeric", NOISE + LABELS) < LEAKAGE_AUC


def test_too_few_rows_of_a_class_give_no_auc() -> None:
    encoder = TableEncoder((Column("x", "numeric"),))
    assert single_column_auc(encoder, {"numeric": np.zeros((20, 1), np.float32)}, np.array([1.0] * 3 + [0.0] * 17)) == {}
