"""Routes of recommendations, rankings, similar items and the item catalog."""
