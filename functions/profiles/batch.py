"""Scores files dropped under inbox/profiles/ and inbox/profiles-table/; the results are below results/."""

from personalization.batch.app import batch_handler

lambda_handler = batch_handler("profiles")
