"""Recommendations, rankings, similar items, PUT /v1/items and POST /v1/tables/recommendations-table."""

from personalization.api import Handler, Services, application
from personalization.api.recommendations import routes


def build(services: Services) -> Handler:
    """The handler over given services; tests and benchmarks pass their own."""
    return application(services, routes.routes(services))


lambda_handler = build(Services.from_environment("recommendations", models=("recommendations", "recommendations-table")))
