"""Routes of profiles and segments."""
