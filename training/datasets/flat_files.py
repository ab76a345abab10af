"""The three flat feature tables of the simplest shop, made from real events of the Complete Journey retail data set.

    python -m training.datasets.flat_files --out DIR [--cut 2017-10-01]

A grocer's tills record no clicks and no page views. Those columns hold what a household did with an offer on paper; nothing is
invented. Counts are over the 90 days before a row's cut, `label` lies after it.

`user_data.csv`: a row per household that bought before the cut; `label`: buys within 14 days after it.
    click_count      lines bought of products in that store's weekly mailer of that week
    purchase_count   baskets
    view_duration    days on which a campaign mailed to the household was running
`recommendation_data.csv`: a row per household and product category that it bought; `label`: it buys the category again within
28 days.
    click_count      lines of the category bought out of the weekly mailer
    purchase_count   baskets with the category
    view_duration    days on which a mailed coupon for the category was valid
`advertising_data.csv`: a row per household and campaign mailed to it, the cut is the campaign's start; `label`: it redeemed one
of its coupons. Campaigns that began in the first 28 days, or end after the data (with incomplete responses), are left out.
    click_count      coupons redeemed in earlier campaigns (over the household's whole history)
    purchase_count   baskets in the 90 days before the campaign
    view_duration    days for which the campaign's coupons are valid

The names of the other columns describe them. Households without demographics, without a second purchase to measure a
gap, or without a purchase in the window have missing cells there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from training.datasets import complete_journey, flat_queries, packages

WINDOW_DAYS: Final = 90
USER_HORIZON_DAYS: Final = 14
RECOMMENDATION_HORIZON_DAYS: Final = 28
DEFAULT_CUT: Final = date(2017, 10, 1)

_DATA_START: Final = date(2017, 1, 1)
_MIN_HISTORY_DAYS: Final = 28


def write(directory: Path, cut: date = DEFAULT_CUT) -> dict[str, int]:
    """Write the three files; rows by file name.

    cut   of `user_data` and `recommendation_data`, a day of the stores

    Raises `ValueError` for a cut without 28 days before it and the labels' 28 days after it, `DataPackageMissing`.
    """
    end = date.fromisoformat(complete_journey.DATA_END)
    first = _DATA_START + timedelta(days=_MIN_HISTORY_DAYS)
    last = end - timedelta(days=RECOMMENDATION_HORIZON_DAYS)
    if not first <= cut <= last:
        raise ValueError(f"expected a cut between {first} and {last}, received {cut}")
    queries = {
        "user_data": flat_queries.USERS.format(cut=cut, window=WINDOW_DAYS, horizon=USER_HORIZON_DAYS),
        "recommendation_data": flat_queries.RECOMMENDATIONS.format(
            cut=cut, window=WINDOW_DAYS, horizon=RECOMMENDATION_HORIZON_DAYS
        ),
        "advertising_data": flat_queries.ADVERTISING.format(first=first, end=end, window=WINDOW_DAYS),
    }
    with complete_journey.open_source() as connection:
        connection.execute(flat_queries.PREPARE)
        return {name: packages.write_table(connection, query, directory, name, "csv") for name, query in queries.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = packages.options("flat_files", __doc__ or "")
    parser.add_argument("--cut", type=date.fromisoformat, default=DEFAULT_CUT, metavar="DATE")
    return packages.run(parser, arguments, lambda o: {f"{name}.csv": rows for name, rows in write(o.out, o.cut).items()})


if __name__ == "__main__":
    sys.exit(main())
