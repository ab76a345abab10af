"""``POST /v1/profiles``, ``GET /v1/profiles/{user_id}`` and ``GET /v1/segments``."""

from __future__ import annotations

from typing import Any, Final

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from personalization.api.app import Route
from personalization.api.explain_options import ExplainOptions
from personalization.api.profiles.describe import describe_users
from personalization.api.profiles.schemas import ProfilesRequest
from personalization.api.requests import ApiRequest, timestamp_ms
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.api.tables import table_route
from personalization.core.errors import NotFound, ResultsUnavailable
from personalization.core.time import format_timestamp
from personalization.profiles.behaviour import CURRENT_SEGMENTS
from personalization.profiles.predict import predict_profiles

NAME: Final = "profiles"


def routes(services: Services) -> list[Route]:
    def post_profiles(request: ApiRequest) -> ApiResponse:
        body = request.parse_body(ProfilesRequest)
        as_of_ms = timestamp_ms(body.as_of, request.now_ms)
        # A challenger gets its share of users; a request with several users is served by the champion.
        served = services.model(NAME, body.user_id if body.users is None else None)
        users = body.placed_users()
        explainer, explain_warnings = body.explainer(served.bundle, len(users), "/users")
        state = services.state if body.personalization == "on" else None
        profiles, warnings = describe_users(served.bundle, users, as_of_ms, state, explainer)
        return ApiResponse({"profiles": profiles}, served, warnings + explain_warnings)

    def get_profile(request: ApiRequest) -> ApiResponse:
        user_id = request.path_id("user_id")
        as_of_ms = timestamp_ms(request.query("as_of"), request.now_ms, "as_of")
        options = ExplainOptions.from_query(request)
        state = services.state.read(user_id)
        if not state.exists:
            raise NotFound("nothing is stored about this user; POST /v1/profiles takes events or features of any user")
        served = services.model(NAME, user_id)
        explainer, warnings = options.explainer(served.bundle, 1, "explain")
        profile = predict_profiles(served.bundle, state.events, as_of_ms, state.evicted, explainer=explainer)[0]
        return ApiResponse({"profiles": [profile | {"source": "state"}]}, served, warnings)

    def get_segments(_request: ApiRequest) -> ApiResponse:
        return ApiResponse(_current_segments(services))

    return [
        Route("POST", "/v1/profiles", post_profiles),
        Route("GET", "/v1/profiles/{user_id}", get_profile),
        Route("GET", "/v1/segments", get_segments),
        table_route(services, NAME),
    ]


def _current_segments(services: Services) -> dict[str, Any]:
    """The file that the newest profiles job wrote. Raises `NotFound` before the first job, `ResultsUnavailable`."""
    try:
        response = services.s3.get_object(Bucket=services.settings.data_bucket, Key=CURRENT_SEGMENTS)
        content: dict[str, Any] = orjson.loads(response["Body"].read())
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound"):
            raise NotFound("there are no segments yet: drop a file of interactions under inbox/profiles/") from None
        raise ResultsUnavailable("the segments cannot be read now; repeat the request") from error
    return {"made_at": format_timestamp(int(response["LastModified"].timestamp() * 1000))} | content
