"""Looking at files before training: what they are, what can be trained from them, what is missing."""

from training.check.facts import Facts, look
from training.check.verdicts import Verdict, verdicts

__all__ = ["Facts", "Verdict", "look", "verdicts"]
