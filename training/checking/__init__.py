"""Looking at files before training: what they are, what can be trained from them, what is missing."""

from training.checking.facts import Facts, look
from training.checking.verdicts import Verdict, verdicts

__all__ = ["Facts", "Verdict", "look", "verdicts"]
