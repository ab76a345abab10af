"""POST /v1/profiles, GET /v1/profiles/{user_id}, GET /v1/segments, POST /v1/tables/profiles-table."""

from personalization.api import Handler, Services, application
from personalization.api.profiles import routes


def build(services: Services) -> Handler:
    """The handler over given services; tests and benchmarks pass their own."""
    return application(services, routes.routes(services))


lambda_handler = build(Services.from_environment("profiles", models=("profiles", "profiles-table")))
