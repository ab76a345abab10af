"""Flat feature tables with a label, any columns: read, typed, split, trained, for each of the three jobs."""
