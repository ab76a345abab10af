"""openapi.yaml says what the code does: routes, limits, required fields, and examples that pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate
from pydantic import BaseModel

from personalization.api import Route, events, models, users
from personalization.api.ads import routes as ad_routes
from personalization.api.ads import schemas as ad_schemas
from personalization.api.profiles import routes as profile_routes
from personalization.api.profiles import schemas as profile_schemas
from personalization.api.recommendations import items, schemas
from personalization.api.recommendations import routes as recommendation_routes
from personalization.api.tables import TableRequest
from personalization.core.schema import MAX_ID_LENGTH
from tests.api_shop import Shop

ROOT = Path(__file__).parents[3]
SPEC = yaml.safe_load((ROOT / "openapi.yaml").read_text())
SCHEMAS = SPEC["components"]["schemas"]
BODIES: dict[str, type[BaseModel]] = {
    "ProfilesRequest": profile_schemas.ProfilesRequest,
    "User": profile_schemas.User,
    "RecommendationsRequest": schemas.RecommendationsRequest,
    "RankingsRequest": schemas.RankingsRequest,
    "FiltersBody": schemas.FiltersBody,
    "PromotionBody": schemas.PromotionBody,
    "ContextBody": schemas.ContextBody,
    "ItemsRequest": items.ItemsRequest,
    "ScoreRequest": ad_schemas.ScoreRequest,
    "SlotBody": ad_schemas.SlotBody,
    "ExplorationBody": ad_schemas.ExplorationBody,
    "PlanRequest": ad_schemas.PlanRequest,
    "TableRequest": TableRequest,
    "EventsRequest": events.EventsRequest,
}
LIMITS = ("minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "enum", "default")


def limits(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Limits of a property and of its items; what may be null counts without it."""
    if "$ref" in schema:
        return limits(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        (schema,) = [part for part in schema["anyOf"] if part.get("type") != "null"] if len(schema["anyOf"]) == 2 else [{}]
        return limits(schema, definitions)
    found = {name: schema[name] for name in LIMITS if schema.get(name) is not None}
    items = limits(schema["items"], definitions) if "items" in schema else {}
    return found | {f"items.{name}": value for name, value in items.items()}


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, item in SPEC["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "delete")
    ]


def routes(shop_services: Any) -> list[Route]:
    of = shop_services
    return [
        *profile_routes.routes(of), *recommendation_routes.routes(of), *ad_routes.routes(of),
        *events.routes(of), *users.routes(of), *models.routes(of),
    ]  # fmt: skip


def test_it_is_openapi() -> None:
    validate(SPEC)


def test_its_routes_are_those_that_are_answered(s3: Any, dynamodb: Any, tmp_path: Path) -> None:
    answered = {(route.method, route.path) for route in routes(Shop(s3, dynamodb, tmp_path).services("events"))}
    assert {(method, path) for method, path, _ in operations()} == answered


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", BODIES)
def test_limits_are_those_of_the_code(name: str) -> None:
    model, published = BODIES[name].model_json_schema(), SCHEMAS[name]
    assert published["additionalProperties"] is False
    assert set(published["properties"]) == set(model["properties"])
    assert set(published.get("required", [])) == set(model.get("required", []))
    for field, content in published["properties"].items():
        assert limits(content, SCHEMAS) == limits(model["properties"][field], model.get("$defs", {})), field


def test_ids_have_their_maximum() -> None:
    assert SCHEMAS["Id"]["maxLength"] == MAX_ID_LENGTH


def examples() -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for _, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        model = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        found += [(path, model, example["value"]) for example in content.get("examples", {}).values()]
    return found


def test_every_body_has_an_example() -> None:
    with_body = {path for _, path, operation in operations() if "requestBody" in operation}
    assert {path for path, _, _ in examples()} == with_body


@pytest.mark.parametrize(("path", "model", "value"), examples())
def test_examples_pass(path: str, model: str, value: dict[str, Any]) -> None:
    BODIES[model].model_validate_json(json.dumps(value))


def test_every_route_has_an_event_file() -> None:
    files = [json.loads(path.read_text()) for path in sorted((ROOT / "events").glob("rest_*.json"))]
    assert sorted((event["httpMethod"], event["resource"]) for event in files) == sorted(
        (method, path) for method, path, _ in operations()
    )
