"""What to show next: candidates, scores, blending, ranking, reasons, explanations."""

from personalization.recommendations.blend import Mix, log_total
from personalization.recommendations.history import Histories, Pace, from_events, from_items
from personalization.recommendations.recommender import Recommender, load, seen_last
from personalization.recommendations.sparse import Additions, Neighbours

__all__ = [
    "Additions", "Histories", "Mix", "Neighbours", "Pace", "Recommender", "from_events", "from_items", "load", "log_total",
    "seen_last",
]  # fmt: skip
