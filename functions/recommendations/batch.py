"""Scores files dropped under inbox/recommendations/ and inbox/recommendations-table/; results/ has what became of them."""

from personalization.batch.app import batch_handler

lambda_handler = batch_handler("recommendations")
