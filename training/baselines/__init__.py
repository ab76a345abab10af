"""What the network is measured against, in the same run, on the same rows."""

from training.baselines.binary import binary_baselines

__all__ = ["binary_baselines"]
