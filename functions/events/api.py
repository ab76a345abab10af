"""POST /v1/events, GET and DELETE /v1/users/{user_id}, GET /v1/models, GET /v1/health."""

from personalization.api import Handler, Services, application, events, models, users


def build(services: Services) -> Handler:
    """The handler over given services; tests and benchmarks pass their own."""
    return application(services, [*events.routes(services), *users.routes(services), *models.routes(services)])


lambda_handler = build(Services.from_environment("events"))
