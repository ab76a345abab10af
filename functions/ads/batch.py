"""Scores files dropped under inbox/ads/ and inbox/ads-table/; results/ has what became of them."""

from personalization.batch.app import batch_handler

lambda_handler = batch_handler("ads")
