"""Scores files dropped under inbox/profiles/ and inbox/profiles-table/; results/ has what became of them."""

from personalization.batch.app import batch_handler

lambda_handler = batch_handler("profiles")
