"""A dropped file to results: one line for each row or user, every rejected row with its reason, the same bytes every time."""
