"""Scores files dropped under inbox/ads/ and inbox/ads-table/; the results are below results/."""

from personalization.batch.app import batch_handler

lambda_handler = batch_handler("ads")
