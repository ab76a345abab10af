"""One built function under the Runtime Interface Emulator, which aws-sam-cli brings along: no Docker, no AWS."""

from __future__ import annotations

import json
import os
import platform
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import samcli

from tests.e2e.building import Build, Runtime

_START_SECONDS = 20.0


class Emulator:
    """Starts with the context, ends with it; answers one event at a time (two at once would crash it).

    handler       ``functions.profiles.api.lambda_handler``
    environment   the function's variables, and the credentials of its role
    log           file for what the function writes
    """

    def __init__(
        self, python: Runtime, build: Build, function: str, handler: str, environment: Mapping[str, str], log: Path
    ) -> None:
        self._task, self._handler, self._log = build.artefacts[function], handler, log
        self._interpreter = python.interpreter
        paths = [self._task, *(layer / "python" for layer in build.layers()), python.packages]
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            # As in Lambda: the task, then the layers, then what the runtime has; nothing of this machine's own.
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(self._task),
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_EC2_METADATA_DISABLED": "true",
            **environment,
        }
        self._port, self._process = 0, None

    def __enter__(self) -> Self:
        self._port, runtime_port = free_port(), free_port()
        command = [str(emulator_binary()), "--log-level", "error"]
        command += ["--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"]
        command += ["--runtime-api-address", f"127.0.0.1:{runtime_port}"]
        # -S: no site-packages, so that a package that a layer lacks is missed here and not in AWS
        command += [self._interpreter, "-S", "-m", "awslambdaric", self._handler]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._task, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._wait_for_port()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def invoke(self, event: Any, timeout: float = 60.0) -> Any:
        """The handler's answer. Raises `AssertionError` with the log where it raised: the emulator says 200 even then."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/2015-03-31/functions/function/invocations", json.dumps(event).encode()
        )
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = json.loads(response.read())
        if isinstance(answer, dict) and "errorType" in answer:
            raise AssertionError(f"{answer['errorType']}: {answer.get('errorMessage')}\n{self.log()[-4000:]}")
        return answer

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the emulator does not start\n{self.log()[-4000:]}") from None
                time.sleep(0.05)


def emulator_binary() -> Path:
    """The binary in aws-sam-cli's wheel, made executable where the installation left that out."""
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    binary = Path(samcli.__file__).parent / "local" / "rapid" / f"aws-lambda-rie-{machine}"
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return binary


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
