"""Which ad, in which slot, at what price, and why not the others: pure functions over columns of candidates.

The clock and the randomness are passed in; nothing here reads or writes a store.
"""

from personalization.ads.auction import Decision, Win, decide
from personalization.ads.candidates import Candidates
from personalization.ads.eligibility import Limits, refusals
from personalization.ads.exploration import Exploration, generator, seed_of
from personalization.ads.pacing import Pace, Traffic, pace
from personalization.ads.slots import PositionModel, Slot
from personalization.ads.valuation import Chances, Worth, own_worth, paid_worth, unpriced, worth_of

__all__ = [
    "Candidates",
    "Chances",
    "Decision",
    "Exploration",
    "Limits",
    "Pace",
    "PositionModel",
    "Slot",
    "Traffic",
    "Win",
    "Worth",
    "decide",
    "generator",
    "own_worth",
    "pace",
    "paid_worth",
    "refusals",
    "seed_of",
    "unpriced",
    "worth_of",
]
