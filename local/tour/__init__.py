"""The tour of `make demo`: real shop data to answers, step by step, on this machine."""

from local.tour.run import tour

__all__ = ["tour"]
