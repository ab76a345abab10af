"""Who redeems a coupon of a campaign: this network beside logistic regression and LightGBM, on the same columns and rows.

    python -m benchmarks.ads_coupons [--seeds 3]

Complete Journey, one row for each household that a campaign was mailed to. Trained on campaigns that were over before
2017-08-01, judged on campaigns that began after it and were over when the data ends: labels of campaigns that are still open
are censored, and those are left out. A household is described as known just before the campaign began: the features of its
purchases, its earlier campaigns, what it bought of the campaign's products, and its use of coupons.

All three models are tuned on folds of the training households (the network's settings, the ridge, the boosting rounds) and
trained on all training rows. Intervals are of 1,000 resamples of the households.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from training.runtime import prepare

prepare(0)  # before anything imports TensorFlow

import duckdb  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.special import expit  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from benchmarks import journey  # noqa: E402
from benchmarks.report import publish  # noqa: E402
from personalization.ads.features import AdFeatures  # noqa: E402
from personalization.core import cells  # noqa: E402
from personalization.core.encoder import TableEncoder  # noqa: E402
from personalization.features import HistoryWindow  # noqa: E402
from training.baselines import feature_matrix, linear_features  # noqa: E402
from training.datasets.complete_journey import SHOP_TIMEZONE, open_source  # noqa: E402
from training.evaluation.metrics import calibration_slope, row_log_loss  # noqa: E402
from training.evaluation.smooth_ece import smooth_ece  # noqa: E402
from training.fitting import Examples, FitOptions  # noqa: E402
from training.io.tables import read_attributes, read_categories  # noqa: E402
from training.networks.tabular import TabularConfig  # noqa: E402
from training.task import TabularOptions  # noqa: E402
from training.tasks.ads.columns import ImpressionSources, select_columns  # noqa: E402
from training.tasks.ads.heads import AdTasks  # noqa: E402
from training.tasks.ads.impressions import Impressions, read_impressions  # noqa: E402
from training.tasks.ads.model import FOLDS, PATIENCE, TARGET, cross_fit, examples_of  # noqa: E402
from training.tasks.ads.prepare import AdData, DescribedImpressions, ad_columns, read_ads, users_events  # noqa: E402

CUT: Final = "2017-08-01"
END: Final = "2018-01-01"
RIDGES: Final = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
RESAMPLES: Final = 1_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CouponTask:
    """Rows to learn from and to judge by, encoded; codes of their households."""

    encoder: TableEncoder
    train: Examples
    test: Examples
    train_user: NDArray[np.int64]
    test_user: NDArray[np.int64]

    @property
    def labels(self) -> Floats:
        return self.test.targets["label"].astype(np.float64)


def task() -> CouponTask:
    zone = ZoneInfo(SHOP_TIMEZONE)
    data = AdData(
        impressions=journey.table("impressions"),
        ads=journey.table("ads"),
        users=journey.table("users"),
        interactions=(journey.table("interactions"),),
        timezone=SHOP_TIMEZONE,
    )
    log = read_impressions(data.impressions, zone=zone)
    ads = AdFeatures.from_table(ad_columns(log.ads, read_ads(data)), len(log.ads), None, zone)
    ads = replace(ads, items=[products().get(ad, []) for ad in log.ads])
    cut, end = cells.timestamps([CUT, END], zone)[0].tolist()
    starts, ends = ads.starts[log.ad], ads.ends[log.ad]
    histories = ImpressionSources(
        events=users_events(data, log.users).with_categories(read_categories(journey.table("items"))),
        attributes=read_attributes(journey.table("users"), log.users, zone=zone),
        ads=ads,
        exposures=log.exposures,
        window=HistoryWindow(),
        zone=zone,
    )
    train = rows(log, histories, ends < cut)
    test = rows(log, histories, (starts >= cut) & (ends < end))
    decisions = select_columns(train.columns, train.log.user, train.log.ad, salt="00" * 16)
    encoder = TableEncoder(tuple(d.column for d in decisions if d.column is not None), zone)
    encoded = [examples_of(encoder, part.columns, part.log, []) for part in (train, test)]
    labelled = [Examples(e.inputs, dict(e.targets) | {"label": e.targets[TARGET][:, 1]}) for e in encoded]
    return CouponTask(encoder, labelled[0], labelled[1], train.log.user, test.log.user)


def rows(log: Impressions, histories: ImpressionSources, chosen: NDArray[np.bool_]) -> DescribedImpressions:
    part = log.take(np.flatnonzero(chosen))
    return DescribedImpressions(part, histories.describe(part) | coupon_use(part))


def products() -> dict[str, list[str]]:
    """Product ids of each campaign's coupons."""
    with duckdb.connect() as connection:
        query = "SELECT campaign_id, list(DISTINCT item_id ORDER BY item_id) FROM read_parquet(?) GROUP BY campaign_id"
        return dict(connection.execute(query, [str(journey.table("coupons"))]).fetchall())


def coupon_use(log: Impressions) -> dict[str, NDArray[np.float32]]:
    """What each household did with coupons before each impression: the till knows it, the interactions table does not."""
    asked = pa.table(
        {"row": np.arange(len(log)), "household": [log.users[user] for user in log.user], "at": log.timestamp // 1000}
    )
    with open_source() as connection:
        connection.register("asked", asked)
        found = connection.execute("""
            WITH used AS (
                SELECT a.row, count(DISTINCT basket_id) FILTER (coupon_disc > 0 OR coupon_match_disc > 0) AS orders,
                       sum(coupon_disc) AS money, sum(retail_disc) AS discounts
                FROM asked a JOIN transactions t ON t.household_id::VARCHAR = a.household
                     AND epoch(t.transaction_timestamp) < a.at AND epoch(t.transaction_timestamp) >= a.at - 91 * 86400
                GROUP BY ALL),
            redeemed AS (
                SELECT a.row, count(*) AS redemptions
                FROM asked a JOIN coupon_redemptions r ON r.household_id::VARCHAR = a.household
                     AND epoch(r.redemption_date::TIMESTAMP) < a.at
                GROUP BY ALL)
            SELECT coalesce(orders, 0)::FLOAT AS orders, coalesce(money, 0)::FLOAT AS money,
                   coalesce(discounts, 0)::FLOAT AS discounts, coalesce(redemptions, 0)::FLOAT AS redemptions
            FROM asked LEFT JOIN used USING (row) LEFT JOIN redeemed USING (row) ORDER BY row""").fetchnumpy()
    names = {"orders": "user.coupon_orders_91d", "money": "user.coupon_money_91d",
             "discounts": "user.discounts_91d", "redemptions": "user.redemptions"}  # fmt: skip
    return {name: np.asarray(found[key], dtype=np.float32) for key, name in names.items()}


def folds(users: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The folds of `cross_fit`."""
    names, code = np.unique(users, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % FOLDS)[code]


def network(found: CouponTask, seed: int) -> Floats:
    tasks = AdTasks(click=False, conversion=True)
    options = TabularOptions(journey.DIRECTORY, TabularConfig(), FitOptions(seed=seed, patience=PATIENCE))
    learnt = cross_fit(found.encoder, tasks, found.train, found.train_user, options)
    raw = learnt.model.network.raw(dict(found.test.inputs))[TARGET][:, 0].astype(np.float64)
    return np.asarray(expit(learnt.model.slope["conversion"] * raw + learnt.model.intercept["conversion"]))


def logistic(found: CouponTask, seed: int) -> Floats:
    """The ridge with the least log loss over the folds."""
    fold, labels = folds(found.train_user, seed), found.train.targets["label"]
    design = linear_features(found.encoder)
    x = design.fit_transform(feature_matrix(found.train)).tocsr()

    def loss(ridge: float) -> float:
        held = np.zeros(len(labels))
        for one in range(FOLDS):
            out = fold == one
            model = LogisticRegression(C=ridge, max_iter=1_000).fit(x[~out], labels[~out])
            held[out] = model.predict_proba(x[out])[:, 1]
        return float(row_log_loss(labels, held).mean())

    best = min(RIDGES, key=loss)
    fitted = LogisticRegression(C=best, max_iter=1_000).fit(x, labels)
    return np.asarray(fitted.predict_proba(design.transform(feature_matrix(found.test)))[:, 1])


def boosting(found: CouponTask, seed: int, **parameters: Any) -> Floats:
    """LightGBM for as many rounds as were best over the folds."""
    import lightgbm as lgb

    fold, labels = folds(found.train_user, seed), found.train.targets["label"]
    x = feature_matrix(found.train)
    categories = list(range(len(found.encoder.numeric_names), x.shape[1]))
    settings = {"objective": "binary", "metric": "binary_logloss", "verbosity": -1, "num_threads": 2, "seed": seed} | parameters

    def data(chosen: NDArray[np.bool_]) -> Any:
        return lgb.Dataset(x[chosen], labels[chosen], categorical_feature=categories, params=settings)

    rounds = []
    for one in range(FOLDS):
        stop = lgb.early_stopping(50, verbose=False)
        booster = lgb.train(settings, data(fold != one), 2_000, valid_sets=[data(fold == one)], callbacks=[stop])
        rounds.append(booster.best_iteration)
    final = lgb.train(settings, data(np.ones(len(labels), dtype=bool)), max(1, round(float(np.mean(rounds)))))
    return np.asarray(final.predict(feature_matrix(found.test)))


MODELS: Final[Mapping[str, Callable[[CouponTask, int], Floats]]] = {
    "this network": network,
    "logistic regression": logistic,
    "LightGBM": boosting,
    "LightGBM, small trees": lambda found, seed: boosting(found, seed, num_leaves=7, learning_rate=0.03, min_child_samples=40),
}


def resamples(users: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Rows of households drawn with replacement, whole households at a time."""
    order = np.argsort(users, kind="stable")
    bounds = np.flatnonzero(np.diff(users[order], prepend=-1))
    groups = np.split(order, bounds[1:])
    random = np.random.default_rng(5)
    return [np.concatenate([groups[g] for g in random.integers(0, len(groups), len(groups))]) for _ in range(count)]


def interval(values: list[float]) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:+.4f} … {high:+.4f}" if min(values) < 0 else f"{low:.4f} … {high:.4f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args([] if arguments is None else arguments)
    found = task()
    labels = found.labels
    answers = {name: [model(found, seed) for seed in range(options.seeds)] for name, model in MODELS.items()}
    drawn = resamples(found.test_user, RESAMPLES)

    def auc(p: Floats, chosen: NDArray[np.int64]) -> float:
        return float(roc_auc_score(labels[chosen], p[chosen]))

    def loss(p: Floats, chosen: NDArray[np.int64]) -> float:
        return float(row_log_loss(labels[chosen], p[chosen]).mean())

    every = np.arange(len(labels))
    rows: list[dict[str, Any]] = [{"model": name} for name in MODELS]
    for what, measure in (("AUC", auc), ("log loss", loss)):
        means = {name: np.array([np.mean([measure(p, c) for p in parts]) for c in drawn]) for name, parts in answers.items()}
        for row in rows:
            parts = answers[row["model"]]
            row[what] = float(np.mean([measure(p, every) for p in parts]))
            row[f"{what} of the seeds"] = " ".join(f"{measure(p, every):.4f}" for p in parts)
            if row["model"] != "this network":
                row[f"network − it, {what}"] = interval((means["this network"] - means[row["model"]]).tolist())
    for row in rows:
        row["slope"] = float(np.mean([calibration_slope(labels, p) for p in answers[row["model"]]]))
        row["smooth ECE"] = float(np.mean([smooth_ece(labels, p) for p in answers[row["model"]]]))
    mine = answers["this network"][0]
    slopes = [calibration_slope(labels[chosen], mine[chosen]) for chosen in drawn[:300]]
    errors = [smooth_ece(labels[chosen], mine[chosen]) for chosen in drawn[:300]]
    perfect = [smooth_ece((np.random.default_rng(n).random(len(mine)) < mine).astype(float), mine) for n in range(300)]
    publish(
        "ads_coupons",
        f"Complete Journey coupons, {len(found.train):,} training rows ({int(found.train.targets['label'].sum())} redeemed), "
        f"{len(labels):,} test rows ({int(labels.sum())} redeemed)",
        rows,
        [
            f"Constant: log loss {row_log_loss(labels, np.full(len(labels), found.train.targets['label'].mean())).mean():.4f}.",
            f"Seed 0, 95 %: slope of calibration {interval(slopes)}; smooth ECE {interval(errors)},",
            f"of a perfectly calibrated model with as many rows {interval(perfect)}.",
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
