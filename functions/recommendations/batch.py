"""Scores files dropped under inbox/recommendations/ and inbox/recommendations-table/; the results are below results/."""

from personalization.batch.app import batch_handler

lambda_handler = batch_handler("recommendations")
