"""The HTTP API: routes by job, over the application, requests and responses that all share."""

from personalization.api.app import Handler, Route, application
from personalization.api.services import Services

__all__ = ["Handler", "Route", "Services", "application"]
