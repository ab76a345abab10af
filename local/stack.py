"""The running stack: embedded AWS services, workers, queues and gateway, started and stopped together."""

from __future__ import annotations

import ipaddress
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local import HOME, TEMPLATE, stack_file
from local.aws import CREDENTIALS, EmbeddedAws
from local.bundles import Published, publish_all
from local.gateway import Gateway, describe
from local.http_server import GatewayServer
from local.intrinsics import REGION
from local.plan import Plan, read_plan
from local.pool import FunctionPool
from local.queues import QueuePoller
from local.resources import create_resources


class Stack:
    """The template's stack on this machine; a context manager that starts and stops it.

    template    SAM template; its handlers are imported from its directory
    home        directory for stack.json, logs and temporary files
    host, port  of the gateway (port 0: a free port)
    api_key     required by the gateway; needed where `host` is not loopback
    bridge      address of a container bridge on which the embedded services listen too
    workers     concurrent invocations of one function

    Raises `ValueError` for a host that needs a key, `stack_file.AlreadyRunning`, `TemplateError`, `OSError` for a port in use.
    """

    def __init__(
        self,
        template: Path = TEMPLATE,
        *,
        home: Path = HOME,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        bridge: str | None = None,
        workers: int = 2,
    ) -> None:
        if not api_key and not _loopback(host):
            raise ValueError(f"{host} can be reached from elsewhere: expected --api-key with it")
        self._template = template
        self.home = home
        self._host, self._port, self._api_key, self._workers = host, port, api_key, workers
        self._log = logging.FileHandler(home / "logs" / "gateway.log", delay=True)
        self.aws = EmbeddedAws(home / "logs" / "aws.log", bridge)
        self.plan: Plan
        self._pools: dict[str, FunctionPool] = {}
        self._pollers: list[QueuePoller] = []
        self._server: GatewayServer | None = None
        self._claimed = False  # the home directory

    @property
    def url(self) -> str:
        """Of the gateway, without a path."""
        assert self._server is not None
        return self._server.url

    def variable(self, name: str) -> str:
        """A variable that the template gives to its functions, such as ``DATA_BUCKET``. Raises `KeyError`."""
        return stack_file.variable(self.description(), name)

    def start(self) -> None:
        stack_file.claim(self.home)
        self._claimed = True
        for left in ("logs", "tmp"):
            shutil.rmtree(self.home / left, ignore_errors=True)
        (self.home / "logs").mkdir(parents=True)
        logger = logging.getLogger("local")
        self._log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(self._log)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._server = GatewayServer(self._host, self._port)
        self.aws.start()
        self.plan = plan = read_plan(self._template, endpoint=self.aws.endpoint)
        create_resources(plan, self.aws.client)
        reach = {"AWS_ENDPOINT_URL": self.aws.endpoint}
        for logical_id, function in plan.functions.items():
            self._pools[logical_id] = FunctionPool(function, {**function.environment, **reach}, self.home, self._workers)
        urls = {plan.resolver.arn(queue): plan.resolver.queue_url(queue) for queue in plan.of_type("AWS::SQS::Queue")}
        for source in plan.sources:
            pool = self._pools[source.function]
            poller = QueuePoller(source, urls[source.queue_arn], self.aws.client("sqs"), pool, self._workers)
            self._pollers.append(poller)
            poller.start()
        self._server.start(Gateway(plan.api, self._pools, self._api_key))

    def publish(self, bundles: Sequence[Path]) -> list[Published]:
        """Publish and promote bundles into the template's bucket for models."""
        return publish_all(self.aws.client("s3"), self.variable("MODELS_BUCKET"), bundles)

    def announce(self) -> None:
        """Write stack.json, by which other commands find the stack."""
        stack_file.write(self.home, self.description())

    def description(self) -> dict[str, Any]:
        """The content of stack.json: names and addresses, no secrets."""
        resolver = self.plan.resolver

        def names(kind: str) -> dict[str, str]:
            return {logical_id: resolver.name(logical_id) for logical_id in self.plan.of_type(kind)}

        queues = {
            i: {"url": resolver.queue_url(i), "arn": resolver.arn(i), "dead_letters": _dead_letters(resolver.properties(i))}
            for i in self.plan.of_type("AWS::SQS::Queue")
        }
        functions = {
            i: {
                "name": pool.function.name,
                "handler": pool.function.handler,
                "environment": dict(pool.environment),
                "queues": [source.queue_arn for source in self.plan.sources if source.function == i],
            }
            for i, pool in self._pools.items()
        }
        return {
            "pid": os.getpid(),
            "gateway": self._server.url if self._server else None,
            "endpoint": self.aws.endpoint,
            "bridge_endpoint": self.aws.bridge_endpoint,
            "region": REGION,
            "buckets": names("AWS::S3::Bucket"),
            "tables": names("AWS::DynamoDB::Table"),
            "queues": queues,
            "functions": functions,
            "routes": [describe(route) for route in self.plan.api.routes],
        }

    def stop(self) -> None:
        """Stop all services and child processes. May be called twice, before a start and after a failed start."""
        if not self._claimed:
            return
        self._claimed = False
        stack_file.release(self.home)
        for poller in self._pollers:
            poller.stop()
        if self._server:
            self._server.stop()
        for pool in self._pools.values():
            pool.stop()
        self.aws.stop()
        shutil.rmtree(self.home / "tmp", ignore_errors=True)
        logging.getLogger("local").removeHandler(self._log)
        self._log.close()

    def exports(self) -> Mapping[str, str]:
        """Environment variables for other programs (``python -m training publish``, the AWS CLI) to use this stack."""
        shown = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
        return {"AWS_ENDPOINT_URL": self.aws.endpoint, **{key: CREDENTIALS[key] for key in shown}}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _dead_letters(queue: Mapping[str, Any]) -> str | None:
    target: str | None = queue.get("RedrivePolicy", {}).get("deadLetterTargetArn")
    return target


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
