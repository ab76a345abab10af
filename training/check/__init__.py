"""Inspection of files before training: what they are, which models they can train, and what is missing."""

from training.check.inspection import FileSummary, inspect_file
from training.check.verdicts import TrainingVerdict, check, verdicts

__all__ = ["FileSummary", "TrainingVerdict", "check", "inspect_file", "verdicts"]
