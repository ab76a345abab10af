"""From raw events or a flat table to a published bundle: ``python -m training …``."""
