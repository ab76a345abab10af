"""Measurements behind the README's numbers: each script prints a table, writes JSON, and has its rival in the same run."""
