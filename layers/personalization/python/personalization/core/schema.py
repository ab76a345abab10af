"""The names of tables, columns and event types, and the published limits. Each exists once, here.

To accept another name for a column, add it to `ALIASES` in snake case: ``"shopper_id": USER_ID``. To add a column, add it to
the `optional` columns of its table, and to `numbers` or `times` where it is no text. To accept another name for an event
type, add it to `EVENT_ALIASES` in lower case without separators.

Files and requests may use our names, those of Amazon Personalize (``USER_ID``, ``EVENT_VALUE``) or those of GA4
(``item_category``, ``user_pseudo_id``). `canonical_column` translates them where they are read. All other code has one
spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

JOBS: Final = ("profiles", "recommendations", "ads")
TABLE_SUFFIX: Final = "-table"

# --- columns -------------------------------------------------------------------------------------------------------

USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
AD_ID: Final = "ad_id"
EVENT_TYPE: Final = "event_type"
TIMESTAMP: Final = "timestamp"


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one kind of table.

    required   identify the kind
    numbers    columns that are parsed as numbers
    times      columns that are parsed as timestamps; every other column is text
    """

    kind: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    numbers: frozenset[str] = frozenset()
    times: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        return self.required + self.optional


INTERACTIONS: Final = Table(
    "interactions",
    (USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP),
    (
        "event_id", "session_id", "order_id", "received_at", "quantity", "unit_price", "event_value", "currency",
        "view_duration", "rating", "recommendation_id", "decision_id", "category", "channel",
    ),
    numbers=frozenset({"quantity", "unit_price", "event_value", "view_duration", "rating"}),
    times=frozenset({TIMESTAMP, "received_at"}),
)  # fmt: skip
IMPRESSIONS: Final = Table(
    "impressions",
    (USER_ID, AD_ID, TIMESTAMP),
    (
        "slate_id", "position", "placement", "channel", "eligible_count", "propensity", "click", "clicked_at",
        "conversion", "converted_at", "conversion_value", "sample_weight",
    ),
    numbers=frozenset(
        {"position", "eligible_count", "propensity", "click", "conversion", "conversion_value", "sample_weight"}
    ),
    times=frozenset({TIMESTAMP, "clicked_at", "converted_at"}),
)  # fmt: skip
ADS: Final = Table(
    "ads",
    (AD_ID, "campaign_id"),
    (
        ITEM_ID, "category", "bid", "value", "billing", "budget", "frequency_cap", "channel", "creative", "starts_at",
        "ends_at",
    ),
    numbers=frozenset({"bid", "value", "budget", "frequency_cap"}),
    times=frozenset({"starts_at", "ends_at"}),
)  # fmt: skip
ITEMS: Final = Table(
    "items",
    (ITEM_ID,),
    ("parent_id", "category", "brand", "price", "title", "created_at", "in_stock"),
    numbers=frozenset({"price"}),
    times=frozenset({"created_at"}),
)
USERS: Final = Table("users", (USER_ID,))

# Most specific first: an interactions file also satisfies `users` and `items`.
TABLES: Final = (INTERACTIONS, IMPRESSIONS, ADS, ITEMS, USERS)
TABLE_BY_KIND: Final = {table.kind: table for table in TABLES}
FLAT: Final = "table"  # the kind of a flat feature table, whose columns are the bundle's own

# Canonical name by alias, after `snake_case`. Amazon Personalize's upper-case names need no entry: lowering is enough.
ALIASES: Final = {
    "customer_id": USER_ID, "userid": USER_ID, "visitor_id": USER_ID, "user_pseudo_id": USER_ID, "client_id": USER_ID,
    "household_id": USER_ID, "customerid": USER_ID,
    "product_id": ITEM_ID, "itemid": ITEM_ID, "productid": ITEM_ID, "sku": ITEM_ID, "stock_code": ITEM_ID,
    "event": EVENT_TYPE, "event_name": EVENT_TYPE, "eventtype": EVENT_TYPE,
    "time": TIMESTAMP, "event_timestamp": TIMESTAMP, "event_time": TIMESTAMP, "ts": TIMESTAMP,
    "creation_timestamp": "created_at",
    "ga_session_id": "session_id", "transaction_id": "order_id", "basket_id": "order_id", "invoice_no": "order_id",
    "item_category": "category", "category_l1": "category", "item_brand": "brand", "item_name": "title",
    "engagement_time_msec": "view_duration_ms", "dwell_time": "view_duration",
    "item_group_id": "parent_id", "event_source": "channel",
}  # fmt: skip

# --- event types ---------------------------------------------------------------------------------------------------

VIEW: Final = "view_item"
CART: Final = "add_to_cart"
CHECKOUT: Final = "begin_checkout"
PURCHASE: Final = "purchase"
REFUND: Final = "refund"
WISHLIST: Final = "add_to_wishlist"
SEARCH: Final = "search"
RATE: Final = "rate"
OTHER: Final = "other"
# The order is part of the packed window's format: append only.
EVENT_TYPES: Final = (VIEW, CART, CHECKOUT, PURCHASE, REFUND, WISHLIST, SEARCH, RATE, OTHER)
EVENT_CODE: Final = {name: code for code, name in enumerate(EVENT_TYPES)}
# Keys are lower case with `_` and `-` and blanks removed (`event_type_code`).
EVENT_ALIASES: Final = {
    "click": VIEW, "clicks": VIEW, "view": VIEW, "pageview": VIEW, "viewitem": VIEW, "detailpageview": VIEW, "watch": VIEW,
    "selectitem": VIEW, "viewcontent": VIEW, "productview": VIEW,
    "cart": CART, "addtocart": CART, "addtobasket": CART, "basket": CART,
    "begincheckout": CHECKOUT, "checkout": CHECKOUT, "initiatecheckout": CHECKOUT,
    "buy": PURCHASE, "purchase": PURCHASE, "purchased": PURCHASE, "order": PURCHASE, "transaction": PURCHASE,
    "purchasecomplete": PURCHASE, "sale": PURCHASE,
    "refund": REFUND, "return": REFUND, "returned": REFUND,
    "addtowishlist": WISHLIST, "wishlist": WISHLIST, "favorite": WISHLIST, "favourite": WISHLIST, "like": WISHLIST,
    "search": SEARCH, "viewsearchresults": SEARCH,
    "rate": RATE, "rating": RATE, "review": RATE,
}  # fmt: skip

# --- limits (published in the API's description) --------------------------------------------------------------------

MAX_BODY_BYTES: Final = 5 * 1024 * 1024
MAX_USERS_PER_CALL: Final = 100
MAX_EVENTS_PER_CALL: Final = 5_000
MAX_ROWS_PER_CALL: Final = 5_000
MAX_EXPLAINED_PER_CALL: Final = 10  # users or rows: each costs thousands of rows through the graph
MAX_ITEMS_PER_ANSWER: Final = 200
MAX_CANDIDATES_PER_CALL: Final = 500
MAX_ITEMS_PER_CALL: Final = 1_000
MAX_FILTER_WORDS: Final = 100
MAX_FILTER_IDS: Final = 5_000
MAX_RECORD_BYTES: Final = 64 * 1024
MAX_ID_LENGTH: Final = 256
MAX_RECORDED_REJECTS_RAW: Final = 1_024  # characters of a rejected line that are kept

# Days within which a next purchase is predicted, besides the horizons that a model was trained with.
HAZARD_DAYS: Final = (7, 14, 30, 90)

_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\s\-./]+")


def snake_case(name: str) -> str:
    """``CustomerID`` → ``customer_id``, ``USER_ID`` → ``user_id``, ``Unit Price`` → ``unit_price``."""
    name = name.strip().lstrip("\ufeff")
    return _SEPARATORS.sub("_", _WORD_BORDER.sub("_", name)).lower()


def canonical_column(name: str) -> str:
    """Our spelling of a column's name: in snake case, aliases translated."""
    name = snake_case(name)
    return ALIASES.get(name, name)


def event_type_code(name: str) -> int | None:
    """Index into `EVENT_TYPES` of an event type or alias; `None` for an empty word, that of `OTHER` for an unknown one."""
    key = name.strip().lower()
    if not key:
        return None
    code = EVENT_CODE.get(key)
    if code is None:
        code = EVENT_CODE[EVENT_ALIASES.get(re.sub(r"[\s_\-]+", "", key), OTHER)]
    return code


def table_kind(columns: set[str]) -> str | None:
    """The first kind of table whose required columns are among these canonical columns; `None` where none is."""
    for table in TABLES:
        if set(table.required) <= columns:
            return table.kind
    return None


def job_of(name: str) -> str:
    """The job of a model: ``ads-table`` → ``ads``. Raises `ValueError` for a name that is no model's."""
    job = name.removesuffix(TABLE_SUFFIX)
    if job not in JOBS:
        names = ", ".join(f"{job}, {job}{TABLE_SUFFIX}" for job in JOBS)
        raise ValueError(f"expected the name of a model, one of {names}; received {name!r}")
    return job
