"""What the local stack reads from a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local import TEMPLATE as OURS
from local.aws import EmbeddedAws
from local.intrinsics import Resolver, TemplateError
from local.plan import QueueSource, TemplateRoute, read_plan
from tests.integration.local_shop import TEMPLATE

_RESOURCES = {
    "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Fn::Sub": "${AWS::StackName}-x"}}},
    "Queue": {"Type": "AWS::SQS::Queue"},
    "Function": {"Type": "AWS::Lambda::Function", "Properties": {}},
    "Alias": {"Type": "AWS::Lambda::Alias", "Properties": {"Name": "live", "FunctionName": {"Ref": "Function"}}},
}
_PARAMETERS = {"Days": {"Type": "Number", "Default": 3}, "Mail": {"Type": "String", "Default": ""}, "Key": {"Type": "String"}}
_CONDITIONS = {"HasMail": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Mail"}, ""]}]}, "Both": {"Fn::And": [{"Condition": "HasMail"}]}}


def _resolver(**parameters: str) -> Resolver:
    template = {
        "Resources": _RESOURCES,
        "Parameters": _PARAMETERS,
        "Conditions": _CONDITIONS,
        "Mappings": {"Sizes": {"small": {"memory": 128}}},
    }
    return Resolver(template, parameters, "shop", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"Ref": "Days"}, "3"),
        ({"Ref": "Bucket"}, "shop-x"),
        ({"Ref": "Queue"}, "http://127.0.0.1:1/123456789012/shop-Queue"),
        ({"Ref": "Alias"}, "arn:aws:lambda:us-east-1:123456789012:function:shop-Function:live"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "arn:aws:s3:::shop-x"),
        ({"Fn::GetAtt": "Queue.Arn"}, "arn:aws:sqs:us-east-1:123456789012:shop-Queue"),
        ({"Fn::Sub": "${Bucket.Arn}/a/${!Literal}/${Days}"}, "arn:aws:s3:::shop-x/a/${Literal}/3"),
        ({"Fn::Sub": ["${Name}-${Days}", {"Name": {"Ref": "Bucket"}}]}, "shop-x-3"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Days"}]]}, "a-3"),
        ({"Fn::Select": [1, {"Fn::Split": [",", "a,b"]}]}, "b"),
        ({"Fn::FindInMap": ["Sizes", "small", "memory"]}, 128),
        ({"Fn::If": ["HasMail", "yes", "no"]}, "no"),
        ({"a": {"Fn::If": ["Both", 1, {"Ref": "AWS::NoValue"}]}, "b": [{"Ref": "AWS::NoValue"}, 2]}, {"b": [2]}),
        ({"Condition": {"Bool": {"x": "false"}}}, {"Condition": {"Bool": {"x": "false"}}}),  # a policy's, not a function
    ],
)
def test_intrinsic_functions(node: Any, expected: Any) -> None:
    assert _resolver().value(node) == expected


def test_parameters_given_win_over_defaults() -> None:
    assert _resolver(Mail="a@example.com").value({"Fn::If": ["Both", {"Ref": "Mail"}, "no"]}) == "a@example.com"


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"Ref": "Nothing"}, "no such resource or parameter"),
        ({"Ref": "Key"}, "parameter Key of the template has no default"),
        ({"Fn::GetAtt": ["Queue", "Colour"]}, "GetAtt Queue.Colour is not resolved"),
        ({"Fn::ImportValue": "x"}, "Fn::ImportValue is not resolved"),
        ({"Fn::If": ["Nothing", 1, 2]}, "no condition 'Nothing'"),
        ({"Fn::FindInMap": ["Sizes", "large", "memory"]}, "no such entry"),
    ],
)
def test_what_cannot_be_resolved_is_named(node: Any, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        _resolver().value(node)


def test_routes_sources_and_import_paths_of_the_small_template() -> None:
    plan = read_plan(TEMPLATE, endpoint="http://127.0.0.1:1")
    routes = {(r.method, r.path): (r.function, r.key_required) for r in plan.api.routes if "{proxy+}" not in r.path}
    assert routes == {
        ("GET", "/v1/things/{thing_id}"): ("EchoFunction", True),
        ("GET", "/v1/things/best"): ("EchoFunction", True),
        ("POST", "/v1/things"): ("EchoFunction", True),
        ("GET", "/v1/health"): ("EchoFunction", False),
        ("GET", "/v1/trouble/{kind}"): ("TroubleFunction", True),
        ("GET", "/v1/broken"): ("BrokenFunction", True),
    }
    assert TemplateRoute("PATCH", "/v1/rest/{proxy+}", "EchoFunction", True) in plan.api.routes
    assert (plan.api.stage, plan.api.binary_types) == ("live", ("image/png",))
    arn = "arn:aws:sqs:us-east-1:123456789012:local-Queue"
    assert plan.sources == (QueueSource("FilesFunction", arn, batch_size=5, concurrency=2, partial=True),)
    here = TEMPLATE.resolve().parent
    layer = here / "layer" / "python"
    assert plan.functions["EchoFunction"].import_paths == (here, layer)
    assert plan.functions["TroubleFunction"].import_paths == (here / "functions", layer)


def test_our_template_is_readable_and_every_queue_source_and_route_has_its_function() -> None:
    plan = read_plan(OURS, endpoint="http://127.0.0.1:1")
    assert {route.function for route in plan.api.routes} | {source.function for source in plan.sources} == set(plan.functions)
    for function in plan.functions.values():
        assert {"MODELS_BUCKET", "DATA_BUCKET", "STATE_TABLE"} <= function.environment.keys()
        assert function.environment["AWS_ENDPOINT_URL"] == ""


@pytest.mark.parametrize("content", ["", "- a list", "Resources: [", "Resources: {A: {Type: AWS::Serverless::Function}}"])
def test_what_is_no_template_is_refused_with_its_cause(tmp_path: Path, content: str) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(content)
    with pytest.raises(TemplateError):
        read_plan(path, endpoint="http://127.0.0.1:1")


def test_the_embedded_services_never_listen_everywhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the address of one bridge"):
        EmbeddedAws(tmp_path / "log", bridge="0.0.0.0")
