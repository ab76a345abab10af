"""Scores files dropped under inbox/ads/ and inbox/ads-table/; results/ has what became of them."""

from personalization.batch.wiring import batch_handler

lambda_handler = batch_handler("ads")
