"""What every other package builds on: names, typed columns, events, errors, settings, observability."""
