"""Profiles from raw interactions: sources, cleaning, cuts in time, labels, one network with three heads."""
