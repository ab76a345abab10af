"""POST /v1/ads/score, POST /v1/ads/plan, POST /v1/tables/ads-table."""

from personalization.api import Handler, Services, application
from personalization.api.ads import routes


def build(services: Services) -> Handler:
    """The handler over given services; tests and benchmarks pass their own."""
    return application(services, routes.routes(services))


lambda_handler = build(Services.from_environment("ads", models=("ads", "ads-table")))
