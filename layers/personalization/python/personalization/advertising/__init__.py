"""Which ad, in which slot, at what price, and why not the others: pure functions over columns of candidates.

The clock and the randomness are passed in; nothing here reads or writes a store.
"""

from personalization.advertising.auction import Decision, Win, decide
from personalization.advertising.candidates import Candidates
from personalization.advertising.eligibility import Limits, refusals
from personalization.advertising.exploration import Exploration, generator, seed_of
from personalization.advertising.pacing import Pace, Traffic, pace
from personalization.advertising.slots import PositionModel, Slot
from personalization.advertising.worth import Chances, Worth, own_worth, paid_worth, unpriced, worth_of

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
