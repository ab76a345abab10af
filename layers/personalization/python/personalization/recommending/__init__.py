"""What training and serving of recommendations share: histories, components of a score, their mix."""

from personalization.recommending.histories import Histories, Pace, from_events, from_items
from personalization.recommending.mix import Mix, log_total
from personalization.recommending.recommender import Recommender, load, seen_last
from personalization.recommending.sparse import Additions, Neighbours

__all__ = [
    "Additions", "Histories", "Mix", "Neighbours", "Pace", "Recommender", "from_events", "from_items", "load", "log_total",
    "seen_last",
]  # fmt: skip
