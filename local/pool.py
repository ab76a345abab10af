"""Worker processes of one function: started on demand, one invocation at a time, replaced when they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Final

from local.aws import isolated_environment
from local.plan import Function

INIT_SECONDS: Final = 120.0  # Lambda allows 10; a laptop that is training at the same time needs longer
MAX_PAYLOAD: Final = 6 * 1024 * 1024  # bytes of a synchronous request or answer


class InvocationFailed(Exception):
    """The function returned no result.

    kind   Lambda's name of the cause: the type of the handler's exception, ``Runtime.ImportModuleError``,
           ``Runtime.ExitError``, ``Sandbox.Timedout``, ``RequestTooLarge``, ``ResponseTooLarge`` or ``Throttled``
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class Worker:
    """One child process with the function's handler loaded. Raises `InvocationFailed` where it cannot be loaded."""

    def __init__(self, function: Function, environment: Mapping[str, str], home: Path) -> None:
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        self._scratch = tempfile.mkdtemp(prefix=f"{function.logical_id}-", dir=home / "tmp")
        self._connection, child = Pipe()
        with log_file(home, function.logical_id).open("ab") as log, child:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.worker", str(child.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_variables(function, environment, self._scratch),
                cwd=function.import_paths[0] if function.import_paths else None,
                pass_fds=(child.fileno(),),
            )
        try:
            self._receive(INIT_SECONDS)
        except InvocationFailed:
            self.stop()
            raise

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def invoke(self, event: bytes, timeout: float) -> Any:
        """The handler's result for a JSON event.

        Raises `InvocationFailed`; after a timeout or a crash the worker is no longer `alive`.
        """
        head = {"request_id": str(uuid.uuid4()), "timeout": timeout}
        try:
            self._connection.send_bytes(json.dumps(head).encode())
            self._connection.send_bytes(event)
        except OSError:
            self.stop()
            raise InvocationFailed("Runtime.ExitError", "the worker ended before it was asked") from None
        return self._receive(timeout)["result"]

    def kill(self) -> None:
        """End the process; a waiting `invoke` raises `InvocationFailed`."""
        self._process.kill()

    def stop(self, patience: float = 0.0) -> None:
        """Close the connection, wait `patience` seconds for the process to end, then kill it."""
        self._connection.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        try:
            if not self._connection.poll(seconds):
                self.stop()
                raise InvocationFailed("Sandbox.Timedout", f"no answer within {seconds:g} seconds")
            raw = self._connection.recv_bytes()
        except (EOFError, OSError):
            self.stop(patience=max(0.0, min(1.0, deadline - time.monotonic())))
            code = self._process.returncode
            raise InvocationFailed("Runtime.ExitError", f"the worker ended with exit status {code}") from None
        if len(raw) > MAX_PAYLOAD:
            raise InvocationFailed("ResponseTooLarge", f"expected at most {MAX_PAYLOAD} bytes, received {len(raw)}")
        answer: dict[str, Any] = json.loads(raw)
        if "error" in answer:
            raise InvocationFailed(answer["error"]["type"], answer["error"]["message"])
        return answer


class FunctionPool:
    """Invokes one function, on up to `size` workers at the same time.

    environment   the function's variables beside those that Lambda sets
    home          directory of the stack: logs and the workers' temporary files
    """

    def __init__(self, function: Function, environment: Mapping[str, str], home: Path, size: int = 2) -> None:
        self.function = function
        self.environment = environment
        self._home = home
        self._slots = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._stopped = False

    def invoke(self, event: Any, limit: float | None = None) -> Any:
        """The handler's result for the event.

        limit   seconds that the caller waits, where that is less than the function's timeout

        Raises `InvocationFailed`.
        """
        payload = json.dumps(event).encode()
        if len(payload) > MAX_PAYLOAD:
            raise InvocationFailed("RequestTooLarge", f"expected at most {MAX_PAYLOAD} bytes, received {len(payload)}")
        if not self._slots.acquire(timeout=limit):
            raise InvocationFailed("Throttled", "every worker of the function is busy")
        try:
            worker = self._take()
            try:
                timeout = self.function.timeout
                return worker.invoke(payload, timeout if limit is None else min(limit, timeout))
            finally:
                self._put_back(worker)
        finally:
            self._slots.release()

    def stop(self) -> None:
        """End every worker; a waiting `invoke` raises `InvocationFailed`."""
        with self._lock:
            self._stopped = True
            idle, self._idle = self._idle, []
            for worker in self._busy:
                worker.kill()
        for worker in idle:
            worker.stop(patience=2.0)

    def _take(self) -> Worker:
        with self._lock:
            while self._idle and not self._stopped:
                worker = self._idle.pop()
                if worker.alive:
                    self._busy.add(worker)
                    return worker
                worker.stop()
        worker = Worker(self.function, self.environment, self._home)
        with self._lock:
            self._busy.add(worker)
            if self._stopped:
                worker.kill()
        return worker

    def _put_back(self, worker: Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.alive and not self._stopped:
                self._idle.append(worker)
                return
        worker.stop()


def log_file(home: Path, logical_id: str) -> Path:
    """Log file of a function."""
    return home / "logs" / f"{logical_id}.log"


def _variables(function: Function, environment: Mapping[str, str], scratch: str) -> dict[str, str]:
    """The worker's environment: a few variables of this process, those of Lambda, those of the template."""
    inherited = isolated_environment()
    here = str(Path(__file__).resolve().parents[1])
    paths = [*map(str, function.import_paths), here, *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
    lambdas_own = {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": scratch,
        "TZ": "UTC",
        "_HANDLER": function.handler,
        "LOCAL_FUNCTION_ARN": function.arn,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
    }
    own = {key: re.sub("^/tmp(?=/)", scratch, value) for key, value in environment.items()}  # each worker has its own /tmp
    return inherited | lambdas_own | own
