"""Generate `openapi.yaml` from the pydantic models of requests and responses and from `api_operations`.

python -m deploy.openapi            write the file
python -m deploy.openapi --check    exit with 1 where the file is out of date
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from deploy.api_operations import OPERATIONS, Operation
from personalization.api.problems import PROBLEM_JSON
from personalization.api.response_models import Problem, ResponseModel
from personalization.api.row_models import AdRow, InteractionRow, ItemRow, TableRow
from personalization.core.schema import MAX_BODY_BYTES, MAX_ID_LENGTH

ROOT: Final = Path(__file__).parents[1]
FILE: Final = ROOT / "openapi.yaml"
_REF: Final = "#/components/schemas/{model}"
_PARAMETERS: Final = {
    "user_id": {"schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}, "example": "u-1042"},
    "item_id": {"schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}, "example": "teapot"},
}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The `request_id` follows from it, so a repeated request gets the same id.",
    "schema": {"type": "string", "maxLength": 256},
}
_EVERY_OPERATION: Final = (429, 500, 502, 504)
_WITH_BODY: Final = (400, 413, 415)
# Name, description, and whether to repeat the request after the seconds in Retry-After.
_ERRORS: Final[dict[int, tuple[str, str, bool]]] = {
    400: ("InvalidInput", "The request is not valid; `errors` has a pointer to each fault.", False),
    403: ("Forbidden", "The API key is missing or wrong. From the gateway.", False),
    404: ("NotFound", "Nothing is stored under this id.", False),
    409: ("Conflict", "Another request changed the same thing in between; read again and repeat.", False),
    413: ("TooLarge", f"The body has more than {MAX_BODY_BYTES} bytes, or a list exceeds its published maximum.", False),
    415: ("UnsupportedMediaType", "The body is not declared as uncompressed UTF-8 JSON.", False),
    429: ("TooManyRequests", "The rate or the quota of the usage plan is exhausted. From the gateway.", True),
    500: ("InternalError", "The request failed; the log has an entry with its `request_id`.", False),
    502: ("BadGateway", "The function failed. From the gateway; the request may be repeated.", False),
    503: ("Unavailable", "The model store or state does not respond; the request may be repeated.", True),
    504: ("GatewayTimeout", "The function did not respond in time. From the gateway; the request may be repeated.", True),
}
_DESCRIPTION: Final = """\
Profiles, recommendations and ad scores for a web shop. Server to server: the API key names the shop's server, not a user, and \
must not reach a browser.

Column names may be our own, those of Amazon Personalize (`USER_ID`, `EVENT_VALUE`) or those of GA4 (`item_category`). A time \
is RFC 3339, unix seconds or unix milliseconds; one without an offset is in the shop's time zone where a model responds (the \
model states it), and UTC in `POST /v1/events`. Ids in a path are percent-encoded UTF-8, a slash as `%2F`.

Every response names its model. `degraded: true` marks a response that is less than it would be if every store responded, and \
`degraded_reason` gives the cause; nothing is padded in silence. An unknown number is `null`.

Every path responds 405 with the header `Allow` to a method that it does not have; an unknown path is a 404."""


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, Any] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, _path_item(path))[method.lower()] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Personalization",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": _DESCRIPTION,
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com/live",
                "variables": {"api": {"default": "abcdef1234"}, "region": {"default": "eu-central-1"}},
            },
            {"url": "http://127.0.0.1:3000", "description": "the stack on one machine"},
        ],
        "security": [{"apiKey": []}],
        "tags": [
            {"name": "profiles", "description": "customers: history, predictions, segments"},
            {"name": "recommendations", "description": "what to show next"},
            {"name": "ads", "description": "which ad, to whom, at what price"},
            {"name": "tables", "description": "models of flat feature tables"},
            {"name": "users", "description": "what is stored, and erasing it"},
            {"name": "operations", "description": "models and health"},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
            "parameters": {"IdempotencyKey": _IDEMPOTENCY_KEY},
            "responses": {name: _problem(description, retry) for name, description, retry in _ERRORS.values()},
            "schemas": _schemas(),
        },
    }


def to_yaml(content: dict[str, Any]) -> str:
    """The file's text."""
    header = "# Generated by `make openapi` from the models of requests and responses (deploy/openapi.py): do not edit.\n"
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return header + text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes no anchors, and long texts folded."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _folded(dumper: _Dumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">" if len(text) > 100 else None)


_Dumper.add_representer(str, _folded)


def _path_item(path: str) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path)
    return (
        {"parameters": [{"name": name, "in": "path", "required": True} | _PARAMETERS[name] for name in names]} if names else {}
    )


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        content["description"] = operation.description
    if not operation.needs_key:
        content["security"] = []
    if operation.query:
        content["parameters"] = _query_parameters(operation.query)
    if operation.body:
        content["parameters"] = [{"$ref": "#/components/parameters/IdempotencyKey"}]
        content["requestBody"] = {
            "required": True,
            "content": {"application/json": _of(operation.body) | {"examples": _examples(method, path, operation)}},
        }
    example = {"example": operation.response_example} if operation.response_example else {}
    statuses = {*_EVERY_OPERATION, *operation.errors, *(_WITH_BODY if operation.body else ())}
    statuses |= {403} if operation.needs_key else set()
    content["responses"] = {
        "200": {
            "description": operation.returns,
            "headers": {"Cache-Control": {"schema": {"type": "string", "const": "no-store"}}},
            "content": {"application/json": _of(operation.response) | example},
        }
    } | {str(status): {"$ref": f"#/components/responses/{_ERRORS[status][0]}"} for status in sorted(statuses)}
    return content


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for name, schema in _cleaned(model.model_json_schema())["properties"].items():
        description = {"description": schema.pop("description")} if "description" in schema else {}
        parameters.append({"name": name, "in": "query"} | description | {"schema": schema})
    return parameters


def _examples(method: str, path: str, operation: Operation) -> dict[str, Any]:
    examples = {"event": {"value": event_body(method, path)}}
    return examples | {name: {"summary": summary, "value": value} for name, (summary, value) in operation.examples.items()}


def event_body(method: str, path: str) -> dict[str, Any]:
    """The body of the route's file in `events/`."""
    events = (json.loads(file.read_text()) for file in sorted((ROOT / "events").glob("rest_*.json")))
    found = next(event for event in events if (event["httpMethod"], event["resource"]) == (method, path))
    body: dict[str, Any] = json.loads(found["body"])
    return body


def _problem(description: str, retry: bool) -> dict[str, Any]:
    headers = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    content = {PROBLEM_JSON: _of(Problem)}
    return {"description": description, **({"headers": headers} if retry else {}), "content": content}


def _of(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(model=model.__name__)}}


def _schemas() -> dict[str, Any]:
    operations = OPERATIONS.values()
    requests = [operation.body for operation in operations if operation.body]
    models: list[type[BaseModel]] = [
        *dict.fromkeys([*requests, *(operation.response for operation in operations)]),
        Problem, InteractionRow, ItemRow, AdRow, TableRow,
    ]  # fmt: skip
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    schemas: dict[str, Any] = {name: _cleaned(schema) for name, schema in sorted(definitions["$defs"].items())}
    for name in sorted(_names_of(ResponseModel) & schemas.keys()):
        schemas[name].pop("additionalProperties", None)  # clients accept fields that later versions add
    return schemas


def _names_of(base: type[BaseModel]) -> set[str]:
    return {base.__name__}.union(*(_names_of(model) for model in base.__subclasses__()))


def _cleaned(schema: Any) -> Any:
    """A pydantic schema without titles and null defaults, with short nullable types and references to the models of rows."""
    if isinstance(schema, list):
        return [_cleaned(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "x-row" in schema:
        return {"$ref": _REF.format(model=schema["x-row"])} | {key: _cleaned(schema[key]) for key in schema if key != "x-row"}
    content: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            content[key] = {name: _cleaned(part) for name, part in value.items()}
        elif key == "description":
            content[key] = " ".join(value.split()) if "\n\n" not in value else value
        elif key in ("example", "examples", "enum"):
            content[key] = value
        elif key != "title" and not (key == "default" and value is None):
            content[key] = _cleaned(value)
    return _with_short_type(content)


def _with_short_type(schema: dict[str, Any]) -> dict[str, Any]:
    """``anyOf`` of simple types, or of one type and null, as one schema with several types."""
    parts: list[dict[str, Any]] = schema.get("anyOf", [])
    types = [part.get("type") for part in parts]
    detailed = [part for part in parts if part.keys() != {"type"}]
    if not parts or not all(isinstance(name, str) for name in types) or len(detailed) > 1:
        return schema
    if detailed and (len(parts) > 2 or "null" not in types or "enum" in detailed[0]):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {"type": types} | {key: value for key, value in (detailed or [{}])[0].items() if key != "type"} | rest


if __name__ == "__main__":
    FILE.write_text(to_yaml(document()))
