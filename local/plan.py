"""Functions, routes and queues of the template, as the local stack needs them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local.intrinsics import Resolver, TemplateError, text
from local.template import code_paths, read_template, translate

_FUNCTION_IN_URI = re.compile(r"/functions/(.+?)/invocations")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function. `timeout` in seconds, `memory` in MB; `environment` as the template declares it, resolved."""

    logical_id: str
    name: str
    arn: str
    handler: str
    timeout: float
    memory: int
    environment: Mapping[str, str]
    import_paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class TemplateRoute:
    """One method on one path of the API, such as ``GET /v1/profiles/{user_id}``; `function` is a logical id."""

    method: str
    path: str
    function: str
    key_required: bool


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """A response of the gateway itself; `headers` and `templates` (by media type) are the template's."""

    status: int | None
    headers: Mapping[str, str]
    templates: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Api:
    """The REST API: stage, routes, the gateway's own responses by type, and media types that are sent as base64."""

    stage: str = "live"
    routes: tuple[TemplateRoute, ...] = ()
    responses: Mapping[str, GatewayResponse] = field(default_factory=dict)
    binary_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueSource:
    """The queue of a function. `partial`: the handler reports failed messages one by one."""

    function: str
    queue_arn: str
    batch_size: int
    concurrency: int | None
    partial: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the local stack takes from one template."""

    resolver: Resolver
    functions: Mapping[str, Function]
    api: Api
    sources: tuple[QueueSource, ...]

    def of_type(self, kind: str) -> list[str]:
        """Logical ids of the resources of one CloudFormation type whose condition holds."""
        return list(_of_type(self.resolver, kind))


def read_plan(template: Path, *, endpoint: str, stack: str = "local", parameters: Mapping[str, str] | None = None) -> Plan:
    """Read a SAM template for this machine.

    endpoint     URL of the embedded AWS services
    parameters   values in place of the template's defaults

    Raises `TemplateError` for a template that cannot be read or emulated.
    """
    document = read_template(template)
    paths = code_paths(document, template.resolve().parent)
    resolver = Resolver(translate(document), parameters or {}, stack, endpoint)
    functions = {f.logical_id: f for f in _functions(resolver, paths)}
    by_name = {function.name: function.logical_id for function in functions.values()}
    return Plan(resolver, functions, _api(resolver, by_name), tuple(_sources(resolver, by_name)))


def _of_type(resolver: Resolver, kind: str) -> Iterator[str]:
    return (i for i, resource in resolver.resources.items() if resource["Type"] == kind and resolver.present(i))


def _functions(resolver: Resolver, paths: Mapping[str, list[Path]]) -> Iterator[Function]:
    for logical_id in _of_type(resolver, "AWS::Lambda::Function"):
        # Only what a worker needs is resolved: roles, log groups and layers are not emulated.
        raw = resolver.resources[logical_id]["Properties"]
        variables = resolver.value(raw.get("Environment", {}).get("Variables", {}))
        yield Function(
            logical_id=logical_id,
            name=resolver.name(logical_id),
            arn=resolver.arn(logical_id),
            handler=str(resolver.value(raw["Handler"])),
            timeout=float(resolver.value(raw.get("Timeout", 3))),
            memory=int(resolver.value(raw.get("MemorySize", 128))),
            environment={key: text(value) for key, value in variables.items()},
            import_paths=tuple(paths.get(logical_id, [])),
        )


def _api(resolver: Resolver, by_name: Mapping[str, str]) -> Api:
    apis = list(_of_type(resolver, "AWS::ApiGateway::RestApi"))
    if len(apis) > 1:
        raise TemplateError(f"expected one REST API in the template, found {', '.join(apis)}")
    if not apis:
        return Api()
    body = resolver.value(resolver.resources[apis[0]]["Properties"].get("Body", {}))
    stages = [
        resolver.value(resolver.resources[i]["Properties"].get("StageName"))
        for i in _of_type(resolver, "AWS::ApiGateway::Stage")
    ]
    return Api(
        stage=str(next((stage for stage in stages if stage), "live")),
        routes=tuple(_routes(body, by_name)),
        responses={kind: _gateway_response(r) for kind, r in body.get("x-amazon-apigateway-gateway-responses", {}).items()},
        binary_types=tuple(t.replace("~1", "/") for t in body.get("x-amazon-apigateway-binary-media-types", [])),
    )


def _gateway_response(response: Mapping[str, Any]) -> GatewayResponse:
    prefix = "gatewayresponse.header."
    headers = {
        key.removeprefix(prefix): str(value).strip("'")
        for key, value in response.get("responseParameters", {}).items()
        if key.startswith(prefix)
    }
    status = response.get("statusCode")
    return GatewayResponse(int(status) if status else None, headers, response.get("responseTemplates", {}))


def _routes(body: Mapping[str, Any], by_name: Mapping[str, str]) -> Iterator[TemplateRoute]:
    schemes = body.get("securityDefinitions", {}) | body.get("components", {}).get("securitySchemes", {})
    key_schemes = {name for name, scheme in schemes.items() if scheme.get("name", "").lower() == "x-api-key"}
    for path, methods in body.get("paths", {}).items():
        for method, operation in methods.items():
            integration = operation.get("x-amazon-apigateway-integration", {}) if isinstance(operation, dict) else {}
            found = _FUNCTION_IN_URI.search(str(integration.get("uri", "")))
            if integration.get("type", "").lower() != "aws_proxy" or not found:
                continue
            function = _function_id(found[1], by_name)
            security = operation.get("security", body.get("security", []))
            key_required = any(key_schemes & scheme.keys() for scheme in security)
            any_method = method == "x-amazon-apigateway-any-method"
            for name in _METHODS if any_method else (method.upper(),):
                yield TemplateRoute(name, path, function, key_required)


def _sources(resolver: Resolver, by_name: Mapping[str, str]) -> Iterator[QueueSource]:
    for logical_id in _of_type(resolver, "AWS::Lambda::EventSourceMapping"):
        properties = resolver.properties(logical_id)
        arn = str(properties.get("EventSourceArn", ""))
        enabled = str(properties.get("Enabled", True)).lower() != "false"
        if ":sqs:" not in arn or not enabled:
            continue
        limit = properties.get("ScalingConfig", {}).get("MaximumConcurrency")
        yield QueueSource(
            function=_function_id(str(properties["FunctionName"]), by_name),
            queue_arn=arn,
            batch_size=int(properties.get("BatchSize", 10)),
            concurrency=int(limit) if limit else None,
            partial="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
        )


def _function_id(name_or_arn: str, by_name: Mapping[str, str]) -> str:
    """Logical id of the function with this name, ARN, or ARN with a qualifier (version or alias)."""
    name = name_or_arn.split(":function:")[-1].split(":")[0]
    if name not in by_name:
        raise TemplateError(f"the template routes to function {name!r}; it has {', '.join(sorted(by_name)) or 'none'}")
    return by_name[name]
