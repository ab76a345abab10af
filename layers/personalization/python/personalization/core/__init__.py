"""Foundations of all packages: names, time, typed columns, events, errors, settings, observability."""
