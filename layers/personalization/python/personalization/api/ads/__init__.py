"""Routes of ad decisions and ad plans."""
