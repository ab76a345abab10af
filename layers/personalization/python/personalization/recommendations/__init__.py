"""What to show next: candidates, scores, blending, ranking, reasons, explanations."""

from personalization.recommendations.blend import BlendWeights, log_total
from personalization.recommendations.history import BasketPace, InteractionHistory, from_events, from_items
from personalization.recommendations.recommender import Recommender, demote_seen, load
from personalization.recommendations.sparse import NeighborMatrix, SparseScores

__all__ = [
    "BasketPace",
    "BlendWeights",
    "InteractionHistory",
    "NeighborMatrix",
    "Recommender",
    "SparseScores",
    "demote_seen",
    "from_events",
    "from_items",
    "load",
    "log_total",
]  # fmt: skip
