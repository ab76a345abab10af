"""Training of recommendations from interactions: ``train recommendations --interactions F [--items F]``."""
