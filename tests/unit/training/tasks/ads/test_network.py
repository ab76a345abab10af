"""The network of clicks and conversions on data whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from training.runtime import prepare

prepare(0)

from personalization.core.encoder import Column, TableEncoder  # noqa: E402
from training.calibration import platt  # noqa: E402
from training.export import export, open_session  # noqa: E402
from training.fitting import Examples, FitOptions  # noqa: E402
from training.networks.tabular import TabularConfig  # noqa: E402
from training.task import TabularOptions  # noqa: E402
from training.tasks.ads.heads import AdHead, AdTasks, bernoulli  # noqa: E402
from training.tasks.ads.model import (  # noqa: E402
    TARGET,
    base_rates,
    calibrate,
    cross_fit,
    examination_of,
    fit_logistic,
    rarest_outcome,
    row_losses,
    train_ads_network,
)

ENCODER = TableEncoder((Column("x", "numeric"), Column("z", "numeric")))
SEEN = np.array([1.0, 0.5, 0.2])
PLACED = AdTasks(click=True, conversion=True, untreated=True, positions=3, first=(True, False, False))
SMALL = TabularConfig(members=4, widths=(16,), bins=0, dropout=0.0)


def simulated(rows: int, seed: int = 0, held_back: float = 0.1) -> tuple[Examples, dict[str, Any]]:
    """Impressions in three places, some held back, and the truth: P(click | seen), P(conversion | click) and without the ad."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, 2)).astype(np.float32)
    truth = {"click": expit(x[:, 0] - 1), "conversion": expit(x[:, 1] - 0.5), "untreated": expit(-2 - x[:, 0])}
    place = random.integers(0, 3, rows)
    shown = random.random(rows) >= held_back
    click = (random.random(rows) < SEEN[place] * truth["click"]) & shown
    converted = np.where(shown, click & (random.random(rows) < truth["conversion"]), random.random(rows) < truth["untreated"])
    target = np.stack([click, converted, np.where(shown, place, -1), shown], axis=1).astype(np.float32)
    return Examples({"numeric": x}, {TARGET: target}), truth


@pytest.fixture(scope="module")
def trained() -> Any:
    train, _ = simulated(12_000)
    valid, truth = simulated(4_000, 1)
    options = FitOptions(seed=0, epochs=12, patience=4, batch=256, learning_rate=5e-3, weight_decay=0.01)
    return train_ads_network(ENCODER, PLACED, train, valid, SMALL, options), valid, truth


def test_what_the_place_cost_is_told_from_what_the_ad_is_worth(trained: Any) -> None:
    model, _, _ = trained
    assert model.examination[0] == 1.0
    assert model.examination == pytest.approx(SEEN, abs=0.06)


@pytest.mark.parametrize("name", PLACED.outputs)
def test_each_output_is_near_its_truth(trained: Any, tmp_path: Path, name: str) -> None:
    model, valid, truth = trained
    difference = export(model.network.serving, tmp_path / "model.onnx", dict(valid.inputs))
    served = open_session(tmp_path / "model.onnx").run([name], dict(valid.inputs))[0]
    assert served.shape == (len(valid),)
    assert np.abs(served - truth[name]).mean() < 0.04
    assert difference < 1e-4
    chances = model.network.raw(dict(valid.inputs))[TARGET]
    assert chances.shape == (len(valid), 6)  # three outputs, three places


@pytest.fixture(scope="module")
def graph(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    model, valid, _ = trained
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export(model.network.serving, path, dict(valid.inputs))
    return open_session(path)


@settings(max_examples=200, deadline=None)
@given(cells=st.lists(st.tuples(*[st.floats(width=32, allow_infinity=True) | st.none()] * 2), min_size=1, max_size=5))
def test_probabilities_stay_within_bounds_on_any_input(graph: Any, cells: list[tuple[float | None, float | None]]) -> None:
    """As a request's cells reach the graph: NaN, gaps, infinities, the largest and the least of numbers."""
    columns = {"x": [row[0] for row in cells], "z": [row[1] for row in cells]}
    answers = graph.run(None, ENCODER.encode(columns, len(cells)).inputs)
    for chance in answers:
        assert np.isfinite(chance).all()
        assert ((chance >= 0) & (chance <= 1)).all()
    chances = dict(zip((node.name for node in graph.get_outputs()), answers, strict=True))
    told = chances["click"] * chances["conversion"]  # the whole way from the impression to the order
    assert (told <= chances["click"]).all()


def test_probabilities_are_those_of_the_placed_ad(trained: Any) -> None:
    model, valid, truth = trained
    raw = model.network.raw(dict(valid.inputs))[TARGET].astype(np.float64)
    found = model.probabilities(raw, valid)
    place = valid.targets[TARGET][:, 2].astype(int)
    seen = np.where(place >= 0, SEEN[place], 1.0)
    assert np.abs(found["click"] - seen * truth["click"]).mean() < 0.04
    assert np.abs(found["conversion"] - seen * truth["click"] * truth["conversion"]).mean() < 0.03
    assert (found["conversion"] <= found["click"]).all()
    assert examination_of(PLACED, raw, valid) == pytest.approx(np.where(place >= 0, model.examination[place], 1.0), abs=1e-6)


def test_the_loss_by_hand() -> None:
    """One row of each kind, one member; logits 0 and log odds of 3."""
    from keras import ops

    head = AdHead(PLACED)
    target = ops.array([[1, 1, 1, 1], [0, 0, -1, 1], [0, 1, -1, 0]], dtype="float32")
    unseen = np.log(np.array([1.0, 0.5, 0.25], np.float32))
    raw = np.concatenate([np.array([[0.0, 0.0, logit(0.75)]] * 3, np.float32), np.tile(unseen, (3, 1))], axis=1)[:, None, :]
    head.raw(ops.zeros((1, 1, 4)))  # as the network would, before it asks for a loss
    found = np.asarray(head.loss(target, ops.array(raw)))
    shown = -np.log(0.5 * 0.5) - np.log(0.5 * 0.5 * 0.5)
    skipped = -np.log(0.5) - np.log(1 - 0.25)
    assert found == pytest.approx([shown, skipped, -np.log(0.75)], rel=1e-5)


def test_bernoulli_at_its_ends_is_finite() -> None:
    from keras import ops

    for log_p in (0.0, -1e-9, -40.0, -1e4):
        for label in (0.0, 1.0):
            assert np.isfinite(float(bernoulli(ops.array(label), ops.array(log_p))))


def test_it_begins_at_the_base_rates() -> None:
    train, _ = simulated(2_000)
    rates = base_rates(PLACED, train)
    target = train.targets[TARGET]
    shown = target[:, 3] > 0
    assert rates["click"] == pytest.approx(target[shown, 0].mean())
    assert rates["conversion"] == pytest.approx(target[shown, 1].sum() / target[shown, 0].sum())
    assert rates["untreated"] == pytest.approx(target[~shown, 1].mean())
    doubled = Examples(train.inputs, train.targets, np.where(target[:, 0] > 0, 1.0, 2.0).astype(np.float32))
    clicks = target[shown, 0].sum()
    assert base_rates(PLACED, doubled)["click"] == pytest.approx(clicks / (clicks + 2 * (shown.sum() - clicks)))


def test_a_logistic_fit_under_a_factor() -> None:
    random = np.random.default_rng(3)
    logits, factor = random.standard_normal(40_000), random.choice([0.3, 1.0], 40_000)
    labels = (random.random(40_000) < factor * expit(1.7 * logits - 0.4)).astype(float)
    assert fit_logistic(logits, labels, factor, np.ones(40_000)) == pytest.approx((1.7, -0.4), abs=0.06)
    # without a factor it is Platt's
    plain = (random.random(500) < expit(0.8 * logits[:500])).astype(float)
    assert fit_logistic(logits[:500], plain, np.ones(500), np.ones(500)) == pytest.approx(platt(logits[:500], plain), abs=1e-3)


def test_calibration_undoes_what_is_wrong_with_logits() -> None:
    """Twice too sure of clicks, a little too shy of conversions."""
    rows, truth = simulated(30_000, 5, held_back=0.0)
    tasks = AdTasks(click=True, conversion=True, positions=3, first=PLACED.first)
    seen = np.tile(np.log(SEEN), (len(rows), 1))
    raw = np.concatenate([2 * logit(truth["click"])[:, None], logit(truth["conversion"])[:, None] / 1.25 - 0.3, seen], axis=1)
    slope, intercept = calibrate(tasks, raw, rows)
    assert slope["click"] == pytest.approx(0.5, abs=0.03)
    assert slope["conversion"] == pytest.approx(1.25, abs=0.1)
    assert intercept["conversion"] == pytest.approx(0.375, abs=0.1)


def test_cross_fitting_judges_each_row_by_a_network_that_did_not_see_it(tmp_path: Path) -> None:
    """Labels are coin tosses by user, and a column gives every user away: only who has seen a user can know."""
    random = np.random.default_rng(0)
    user = np.repeat(np.arange(120), 4)
    label = random.integers(0, 2, 120)[user].astype(np.float32)
    noise = np.stack([user * 1.0, random.standard_normal(len(user))], axis=1).astype(np.float32)
    zeros = np.zeros(len(user), np.float32)
    rows = Examples({"numeric": noise}, {TARGET: np.stack([zeros, label, zeros - 1, zeros + 1], axis=1)})
    tasks = AdTasks(click=False, conversion=True)
    options = TabularOptions(tmp_path, SMALL, FitOptions(seed=0, epochs=3, patience=2, batch=32))
    validated = cross_fit(ENCODER, tasks, rows, user, options)
    assert validated.folds == 5
    assert validated.raw.shape == (len(user), 1)
    assert row_losses(tasks, validated.raw, rows).mean() > 0.65  # a coin toss costs .693
    assert len(validated.trials) == 2
    assert validated.model.fitted.best_epoch >= 1


def test_the_rarest_outcome_and_rows_put_together() -> None:
    rows, _ = simulated(500)
    target = rows.targets[TARGET]
    expected = min(target[:, 0].sum(), (target[:, 1] * target[:, 3]).sum(), (target[:, 1] * (1 - target[:, 3])).sum())
    assert rarest_outcome(PLACED, rows) == expected
    weighted = Examples(rows.inputs, rows.targets, np.full(500, 3.0, np.float32))
    both = Examples.concatenate([rows, weighted])
    assert len(both) == 1_000
    assert both.weight is not None
    assert both.weight.tolist() == [1.0] * 500 + [3.0] * 500
    assert Examples.concatenate([rows, rows]).weight is None
