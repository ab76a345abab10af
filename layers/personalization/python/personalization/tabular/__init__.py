"""Flat feature tables: predictions and their explanations."""
