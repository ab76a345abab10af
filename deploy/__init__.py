"""Builds the Lambda artefacts, and deploys, checks and deletes a stack in AWS."""
