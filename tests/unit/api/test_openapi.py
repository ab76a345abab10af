"""`openapi.yaml` is generated from the models of requests and responses, and describes every route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate
from pydantic import BaseModel

from deploy import openapi
from deploy.api_operations import OPERATIONS, Operation
from personalization.api import events, models, users
from personalization.api.ads import routes as ad_routes
from personalization.api.profiles import routes as profile_routes
from personalization.api.recommendations import routes as recommendation_routes
from personalization.api.row_models import AdRow, InteractionRow, ItemRow
from personalization.core.schema import (
    ADS,
    INTERACTIONS,
    ITEMS,
    MAX_EVENTS_PER_CALL,
    MAX_ID_LENGTH,
    MAX_ITEMS_PER_ANSWER,
    MAX_ROWS_PER_CALL,
    Table,
)
from tests.api_shop import Shop

ROOT = Path(__file__).parents[3]
SPEC = yaml.safe_load((ROOT / "openapi.yaml").read_text())
SCHEMAS = SPEC["components"]["schemas"]


def test_the_committed_file_is_the_generated_one() -> None:
    assert openapi.FILE.read_text() == openapi.to_yaml(openapi.document()), "run `make openapi`"


def test_it_is_openapi() -> None:
    validate(SPEC)


def test_it_describes_the_routes_of_the_functions(s3: Any, dynamodb: Any, tmp_path: Path) -> None:
    services = Shop(s3, dynamodb, tmp_path).services("events")
    modules = (profile_routes, recommendation_routes, ad_routes, events, users, models)
    routes = [route for module in modules for route in module.routes(services)]
    assert sorted((route.method, route.path) for route in routes) == sorted(OPERATIONS)
    assert {(method.upper(), path) for path, item in SPEC["paths"].items() for method in item if method != "parameters"} == set(
        OPERATIONS
    )


def test_operation_ids_are_unique() -> None:
    assert len({operation.id for operation in OPERATIONS.values()}) == len(OPERATIONS)


def test_limits_are_published() -> None:
    """By hand, for a few: a property in a nullable list, a plain one, an id."""
    assert SCHEMAS["ProfilesRequest"]["properties"]["events"]["maxItems"] == MAX_EVENTS_PER_CALL
    assert SCHEMAS["TableRequest"]["properties"]["rows"]["maxItems"] == MAX_ROWS_PER_CALL
    assert SCHEMAS["RecommendationsRequest"]["properties"]["k"] | {"description": ""} == {
        "type": "integer", "minimum": 1, "maximum": MAX_ITEMS_PER_ANSWER, "default": 20, "description": ""
    }  # fmt: skip
    user_id = SCHEMAS["ProfilesRequest"]["properties"]["user_id"]
    assert (user_id["type"], user_id["minLength"], user_id["maxLength"]) == (["string", "null"], 1, MAX_ID_LENGTH)


def test_requests_are_closed_and_responses_are_open() -> None:
    """An unknown field in a request is refused; a client must accept fields that a later version adds to a response."""
    requests = {operation.body.__name__ for operation in OPERATIONS.values() if operation.body}
    assert all(SCHEMAS[name]["additionalProperties"] is False for name in requests)
    assert not any("additionalProperties" in SCHEMAS[operation.response.__name__] for operation in OPERATIONS.values())


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_errors_of_the_gateway_and_of_the_function_are_announced(key: tuple[str, str]) -> None:
    """Statuses of template.yaml's GatewayResponses that a caller of a known path can meet."""
    method, path = key
    announced = set(SPEC["paths"][path][method.lower()]["responses"])
    assert {"200", "429", "500", "502", "504"} <= announced
    assert ("403" in announced) == (path != "/v1/health")
    if OPERATIONS[key].body:
        assert {"400", "413", "415"} <= announced


def examples() -> list[tuple[type[BaseModel], Any]]:
    found = []
    for (method, path), operation in OPERATIONS.items():
        if operation.body:
            content = SPEC["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
            found += [(operation.body, example["value"]) for example in content["examples"].values()]
    return found


@pytest.mark.parametrize(("model", "value"), examples())
def test_examples_are_valid(model: type[BaseModel], value: Any) -> None:
    model.model_validate_json(json.dumps(value))


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS.values() if one.response_example], ids=lambda operation: operation.id
)
def test_examples_of_responses_are_valid(operation: Operation) -> None:
    operation.response.model_validate_json(json.dumps(operation.response_example), strict=True)


@pytest.mark.parametrize(("model", "table"), [(InteractionRow, INTERACTIONS), (ItemRow, ITEMS), (AdRow, ADS)])
def test_rows_are_described_by_the_columns_of_their_table(model: type[BaseModel], table: Table) -> None:
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    assert required == set(table.required) - {"user_id", "campaign_id"}  # a session or the ad's id may stand for them
    assert set(table.columns) <= set(model.model_fields)


def test_every_route_has_an_event_file() -> None:
    files = [json.loads(path.read_text()) for path in sorted((ROOT / "events").glob("rest_*.json"))]
    assert sorted((event["httpMethod"], event["resource"]) for event in files) == sorted(OPERATIONS)
