"""Built artefacts, run as Lambda runs them."""
