"""The one feature code: over all users in training and batch, over one user in the API, over the same window."""

from personalization.features.category_shares import CategoryShares, category_shares
from personalization.features.compute import compute
from personalization.features.lifetime import Lifetime, lifetime
from personalization.features.names import FEATURES, TEXT_FEATURES
from personalization.features.window import Window, truncate, visible

__all__ = [
    "FEATURES",
    "TEXT_FEATURES",
    "CategoryShares",
    "Lifetime",
    "Window",
    "category_shares",
    "compute",
    "lifetime",
    "truncate",
    "visible",
]
