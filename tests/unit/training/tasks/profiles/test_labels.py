"""Labels after a cut, against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.core.time import DAY_MS
from tests.event_factory import CUT, events_by_day
from training.io.point_in_time import Cut
from training.tasks.profiles.labels import (
    Labels,
    PurchaseLines,
    bought_within,
    first_baskets,
    frequent_categories,
    label_users,
    orders_observed,
)

DAYS = (7, 14, 30, 90)


def labels_of(rows: list[tuple[object, ...]], limit_days: float = 100.0, horizon: int = 14) -> Labels:
    events = events_by_day(rows)
    cut = Cut(CUT, CUT + round(limit_days * DAY_MS))
    return label_users(PurchaseLines.from_events(events), len(events.users), cut, DAYS, horizon)


def test_the_first_purchase_after_the_cut_ends_the_exposure() -> None:
    labels = labels_of(
        [
            ("ann", -3.0, "purchase"), ("ann", 9.5, "purchase"), ("ann", 9.6, "purchase"),
            ("bob", -5.0, "view_item"), ("bob", 0.0, "purchase"),
            ("cyd", -1.0, "purchase"), ("cyd", 3.0, "view_item"), ("cyd", 14.0, "purchase"),
            ("dan", -1.0, "purchase"),
        ]
    )  # fmt: skip
    assert labels.event.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert labels.exposure.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    by_day = [bought_within(labels, DAYS, days)[0].tolist() for days in (7, 14, 30)]
    assert by_day == [[0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]


def test_a_label_window_that_ends_early_observes_part_of_an_interval() -> None:
    labels = labels_of([("ann", -1.0, "purchase"), ("bob", -1.0, "purchase"), ("bob", 18.5, "purchase")], limit_days=18.0)
    # 18 days: the interval from 14 to 30 is seen for 4 of its 16 days, and what bob did on day 18.5 is not known.
    np.testing.assert_allclose(labels.exposure, [[1, 1, 0.25, 0], [1, 1, 0.25, 0]])
    assert not labels.event.any()
    assert labels.observed_days.tolist() == [18.0, 18.0]


def test_orders_are_counted_up_to_the_last_interval_that_was_observed_whole() -> None:
    rows = [
        ("ann", -1.0, "purchase"), ("ann", 2.0, "purchase"), ("ann", 2.0, "purchase"), ("ann", 10.0, "purchase"),
        ("ann", 20.0, "purchase"), ("bob", -1.0, "purchase"), ("bob", 6.9, "view_item"),
    ]  # fmt: skip
    labels = labels_of(rows, limit_days=35.0)
    assert labels.orders.tolist() == [[1, 2, 3, 3], [0, 0, 0, 0]]  # two lines of one moment are one order
    assert orders_observed(labels, DAYS).tolist() == [[3, 2], [0, 2]]  # 35 days: up to 30, the third interval
    assert orders_observed(labels_of(rows, limit_days=15.0), DAYS).tolist() == [[2, 1], [0, 1]]
    assert orders_observed(labels_of(rows, limit_days=3.0), DAYS).tolist() == [[0, -1], [0, -1]]


def test_no_user_counts_as_observed_where_the_label_window_is_shorter() -> None:
    """Only buyers would count as observed, and the rate would be 1."""
    labels = labels_of([("ann", -1.0, "purchase"), ("ann", 3.0, "purchase"), ("bob", -1.0, "purchase")], limit_days=13.0)
    bought, known = bought_within(labels, DAYS, 14)
    assert bought.tolist() == [1, 0]
    assert known.tolist() == [False, False]
    assert bought_within(labels, DAYS, 7)[1].tolist() == [True, True]


def test_spend_is_net_and_ends_at_the_horizon() -> None:
    labels = labels_of(
        [
            ("ann", -1.0, "purchase", 100.0), ("ann", 1.0, "purchase", 20.0), ("ann", 5.0, "refund", -5.0),
            ("ann", 13.9, "purchase", 7.0), ("ann", 14.0, "purchase", 50.0),
            ("bob", -1.0, "view_item"),
        ]
    )  # fmt: skip
    assert labels.spend.tolist() == [22.0, 0.0]


def test_a_return_is_no_purchase() -> None:
    labels = labels_of([("ann", -1.0, "purchase"), ("ann", 2.0, "refund", -5.0)])
    assert not labels.event.any()
    assert labels.spend.tolist() == [-5.0]


def test_events_received_after_the_label_window_are_no_labels() -> None:
    rows = [("ann", -1.0, "purchase"), ("ann", 2.0, "purchase", 9.0, None, None, 200.0)]
    assert not labels_of(rows).event.any()
    assert labels_of(rows, limit_days=201.0).event.tolist() == [[1, 0, 0, 0]]


def test_the_first_basket_is_one_order_or_one_moment() -> None:
    events = events_by_day(
        [
            ("ann", -1.0, "purchase", 1.0, "tea"),
            ("ann", 2.0, "purchase", 1.0, "tea", "o1"), ("ann", 2.1, "purchase", 1.0, "cups", "o1"),
            ("ann", 2.1, "purchase", 1.0, "pots", "o2"),
            ("bob", -1.0, "purchase", 1.0, "cups"),
            ("bob", 3.0, "purchase", 1.0, "pots"), ("bob", 3.0, "purchase", 1.0, "tea"), ("bob", 4.0, "purchase", 1.0, "cups"),
            ("cyd", -1.0, "purchase", 1.0, "tea"), ("cyd", 1.0, "purchase", 1.0, "spoons"),
            ("dan", -1.0, "purchase", 1.0, "tea"),
        ]
    )  # fmt: skip
    purchases = PurchaseLines.from_events(events, ["tea", "cups", "pots"])
    labels = label_users(purchases, len(events.users), Cut(CUT, CUT + 100 * DAY_MS), DAYS, 14)
    assert first_baskets(purchases, labels, 3).tolist() == [
        [True, True, False],
        [True, False, True],
        [False, False, False],  # spoons are not among those that are predicted
        [False, False, False],
    ]


@pytest.mark.parametrize(
    ("most", "share", "expected"),
    [(10, 1.0, ["tea", "cups", "pots"]), (2, 1.0, ["tea", "cups"]), (10, 0.8, ["tea", "cups"]), (10, 0.1, ["tea", "cups"])],
)
def test_frequent_categories_cover_a_share_of_the_lines_received_before_a_time(
    most: int, share: float, expected: list[str]
) -> None:
    lines = ["tea"] * 5 + ["cups"] * 3 + ["pots"] * 2
    rows = [("ann", -1.0 - at, "purchase", 1.0, word) for at, word in enumerate(lines)]
    rows += [("ann", 1.0, "purchase", 1.0, "spoons")] * 20  # after the moment
    rows += [("ann", -1.0, "view_item", 1.0, "forks")] * 20  # nobody bought them
    assert frequent_categories(events_by_day(rows), CUT, most, share) == expected


def test_one_category_is_nothing_to_predict() -> None:
    assert frequent_categories(events_by_day([("ann", -1.0, "purchase", 1.0, "tea")]), CUT, 10, 1.0) == []
