"""The HTTP API: one module a job, over plumbing that all share."""

from personalization.api.app import Handler, Route, application
from personalization.api.services import Services

__all__ = ["Handler", "Route", "Services", "application"]
