"""POST /v1/recommendations, POST /v1/tables/recommendations-table."""

from personalization.api import Handler, Services, application
from personalization.api.recommendations import routes


def build(services: Services) -> Handler:
    """The handler in given surroundings."""
    return application(services, routes.routes(services))


lambda_handler = build(Services.from_environment("recommendations", models=("recommendations", "recommendations-table")))
