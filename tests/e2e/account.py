"""An AWS account on this machine that checks permissions: each function acts with its own role's policies, no more."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from local.aws import client
from local.intrinsics import REGION
from local.plan import Plan, read_plan
from local.resources import create_resources
from tests.cloud import TEMPLATE, as_list
from tests.e2e.emulator import free_port

# What the embedded account checks under names that IAM does not have, by the permission that AWS asks for.
_ALSO = {
    "s3:GetObject": ["s3:HeadObject"],
    "s3:ListBucket": ["s3:ListObjectsV2", "s3:ListObjects"],
    "dynamodb:PutItem": ["dynamodb:TransactWriteItems"],
}


class Account:
    """moto's server in a process of its own, with the template's resources. Start it as a context."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.plan: Plan
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.endpoint = f"http://127.0.0.1:{port}"
        self._wait()
        self.plan = read_plan(TEMPLATE, endpoint=self.endpoint)
        create_resources(self.plan, self.client)
        self._keys = {name: self._user(name) for name in self.plan.functions}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)

    def client(self, service: str) -> Any:
        """A client that may do everything, until `check_permissions`."""
        return client(service, self.endpoint)

    def environment(self, function: str) -> dict[str, str]:
        """What the function is told, with the keys of a user who may do what its role may."""
        declared: Mapping[str, str] = self.plan.functions[function].environment
        return {
            **declared,
            **self._keys[function],
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def check_permissions(self, on: bool) -> None:
        """From now on every call must be allowed, or none need be."""
        allowed = b"0" if on else b"inf"
        headers = {"Content-Type": "text/plain"}  # as a form, the server would take it apart
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", allowed, headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            response.read()

    def _user(self, function: str) -> dict[str, str]:
        iam = self.client("iam")
        iam.create_user(UserName=function)
        for policy in self._policies(function):
            iam.put_user_policy(
                UserName=function, PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(policy["PolicyDocument"])
            )
        key = iam.create_access_key(UserName=function)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def _policies(self, function: str) -> list[dict[str, Any]]:
        resources = self.plan.resolver.resources
        role = resources[function]["Properties"]["Role"]["Fn::GetAtt"][0]
        policies: list[dict[str, Any]] = self.plan.resolver.value(resources[role]["Properties"]["Policies"])
        for policy in policies:
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = as_list(statement["Action"])
                statement["Action"] = [*actions, *(name for action in actions for name in _ALSO.get(action, []))]
                if not actions[0].startswith("s3:"):
                    statement["Resource"] = "*"  # moto compares resources for S3 alone; the template's tests do for the others
        return policies

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                assert self._process is not None
                assert self._process.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server does not answer"
                time.sleep(0.1)
