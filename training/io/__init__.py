"""From files to columns: reading, cleaning, merging, and the moments at which the past is cut."""
