"""The template as a graph: what refers to what, and that nothing waits for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest

from local.template import translate
from tests.cloud import plan

_SUB = re.compile(r"\$\{([A-Za-z0-9]+)")


def references(node: Any) -> Iterator[str]:
    """Logical ids that a node refers to by Ref, GetAtt, Sub or DependsOn; parameters and pseudo parameters too."""
    if isinstance(node, list):
        for part in node:
            yield from references(part)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "Ref":
            yield value
        elif key == "Fn::GetAtt":
            yield value[0] if isinstance(value, list) else value.split(".")[0]
        elif key == "Fn::Sub":
            yield from _SUB.findall(value if isinstance(value, str) else value[0])
            yield from references(value)
        elif key == "DependsOn":
            yield from [value] if isinstance(value, str) else value
        else:
            yield from references(value)


def order(resources: dict[str, Any]) -> list[str]:
    """An order in which the resources can be made. Raises `CycleError`."""
    graph = {name: {r for r in references(resource) if r in resources} for name, resource in resources.items()}
    return list(TopologicalSorter(graph).static_order())


def test_resources_do_not_wait_for_each_other():
    resources = dict(plan().resolver.resources)
    made = order(resources)
    assert sorted(made) == sorted(resources)
    assert made.index("ProfilesDeadLetters") < made.index("ProfilesQueue") < made.index("ProfilesInboxRule")


def test_the_check_sees_a_bucket_that_waits_for_the_function_that_reads_it():
    """The classic: the notification of a bucket names the function, whose role names the bucket."""
    bucket = {"Type": "AWS::S3::Bucket"}
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {
            "CodeUri": "x/",
            "Handler": "x.handler",
            "Runtime": "python3.13",
            "Environment": {"Variables": {"BUCKET": {"Ref": "Inbox"}}},
            "Events": {"Drop": {"Type": "S3", "Properties": {"Bucket": {"Ref": "Inbox"}, "Events": "s3:ObjectCreated:*"}}},
        },
    }
    document = {"Transform": "AWS::Serverless-2016-10-31", "Resources": {"Inbox": bucket, "Reader": function}}
    with pytest.raises(CycleError):
        order(translate(document)["Resources"])


def test_every_reference_has_its_target():
    template = plan().resolver
    known = set(template.resources) | set(template._parameters)
    unknown = {r for resource in template.resources.values() for r in references(resource)} - known
    assert {name for name in unknown if not name.startswith("AWS")} == set()
