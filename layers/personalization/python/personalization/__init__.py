"""The runtime that the deployed functions, the trainer and the local stack share."""

__version__ = "0.1.0"
