"""Scores files dropped under inbox/profiles/ and inbox/profiles-table/; results/ has what became of them."""

from personalization.batch.wiring import batch_handler

lambda_handler = batch_handler("profiles")
