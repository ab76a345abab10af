"""Features of users: the same code and the same window over all users in training and batch, over one user in the API."""

from personalization.features.category_shares import CategoryShares, category_shares
from personalization.features.compute import compute
from personalization.features.history_window import HistoryWindow, events_known_at, truncate_to_window
from personalization.features.lifetime import Lifetime, lifetime
from personalization.features.names import FEATURES, TEXT_FEATURES

__all__ = [
    "FEATURES",
    "TEXT_FEATURES",
    "CategoryShares",
    "HistoryWindow",
    "Lifetime",
    "category_shares",
    "compute",
    "events_known_at",
    "lifetime",
    "truncate_to_window",
]
