"""Flat feature tables: a row in, a probability out, and why."""
