"""Which ad, in which slot, at what price, and why not the others: pure functions over columns of candidates.

The clock and the randomness are passed in; nothing here reads or writes a store.
"""

from personalization.ads.auction import Decision, Win, decide
from personalization.ads.candidates import Candidates
from personalization.ads.eligibility import Limits, ineligible
from personalization.ads.exploration import Exploration, generator, seed_of
from personalization.ads.pacing import Pace, Traffic, pace
from personalization.ads.slots import PositionModel, Slot
from personalization.ads.valuation import PredictedRates, Valuation, unpriced, valuate, value_of_own, value_of_paid

__all__ = [
    "Candidates",
    "Decision",
    "Exploration",
    "Limits",
    "Pace",
    "PositionModel",
    "PredictedRates",
    "Slot",
    "Traffic",
    "Valuation",
    "Win",
    "decide",
    "generator",
    "ineligible",
    "pace",
    "seed_of",
    "unpriced",
    "valuate",
    "value_of_own",
    "value_of_paid",
]
