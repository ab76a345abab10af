"""The deployment template as the tests look at it: translated as AWS would, names resolved, nothing asked of AWS."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from local.plan import Plan, read_plan

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
STACK = "shop"


@cache
def plan() -> Plan:
    return read_plan(TEMPLATE, endpoint="http://127.0.0.1:1", stack=STACK)


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """{logical id: properties as translated, intrinsic functions and all} of one CloudFormation type."""
    found = plan().resolver.resources
    return {name: r.get("Properties", {}) for name, r in found.items() if r["Type"] == kind}


def resolved(kind: str) -> dict[str, dict[str, Any]]:
    """{logical id: properties with names filled in} of one CloudFormation type."""
    return {name: plan().resolver.value(properties) for name, properties in resources(kind).items()}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(function: str) -> Iterator[dict[str, Any]]:
    """The inline policy statements of one function's role, names filled in, actions and resources as lists."""
    role = resources("AWS::Lambda::Function")[function]["Role"]["Fn::GetAtt"][0]
    for policy in plan().resolver.value(resources("AWS::IAM::Role")[role]["Policies"]):
        for statement in policy["PolicyDocument"]["Statement"]:
            yield statement | {key: as_list(statement[key]) for key in ("Action", "Resource")}
