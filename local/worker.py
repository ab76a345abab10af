"""The child process that runs the handler of one function, like the Lambda runtime.

`local.pool` starts it as ``python -m local.worker FD``. Events and results are JSON messages over that file descriptor;
stdout and stderr are the function's log.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any, Final

# Seconds after its timeout at which a worker ends itself: the parent, which ends it at the timeout, must have died.
_ORPHAN_GRACE: Final = 5.0


@dataclass(slots=True)
class Context:
    """The Lambda context."""

    aws_request_id: str
    invoked_function_arn: str
    function_name: str
    memory_limit_in_mb: int
    log_group_name: str
    log_stream_name: str
    deadline: float  # of time.monotonic()
    function_version: str = "$LATEST"
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


Handler = Callable[[Any, Context], Any]


def load_handler(path: str) -> Handler:
    """The function at a dotted path. Raises the errors of its import."""
    module, _, name = path.rpartition(".")
    handler: Handler = getattr(importlib.import_module(module.replace("/", ".")), name)
    return handler


def serve(connection: Connection) -> None:
    """Load the handler that the environment names, then handle one event at a time until the parent closes the connection."""
    try:
        handler = load_handler(os.environ["_HANDLER"])
    except BaseException as error:  # any error of the import is reported as one
        traceback.print_exc()
        connection.send_bytes(encode({"error": {"type": "Runtime.ImportModuleError", "message": str(error)}}))
        return
    connection.send_bytes(encode({"ready": True}))
    while True:
        try:
            head, event = json.loads(connection.recv_bytes()), json.loads(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(answer(handler, event, head["request_id"], head["timeout"]))


def answer(handler: Handler, event: Any, request_id: str, timeout: float) -> bytes:
    """``{"result": …}``, or ``{"error": {"type", "message"}}`` where the handler raises or its result is not JSON."""
    signal.setitimer(signal.ITIMER_REAL, timeout + _ORPHAN_GRACE)
    started = time.monotonic()
    context = Context(
        aws_request_id=request_id,
        invoked_function_arn=os.environ["LOCAL_FUNCTION_ARN"],
        function_name=os.environ["AWS_LAMBDA_FUNCTION_NAME"],
        memory_limit_in_mb=int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]),
        log_group_name=os.environ["AWS_LAMBDA_LOG_GROUP_NAME"],
        log_stream_name=os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
        deadline=started + timeout,
    )
    try:
        message = encode({"result": handler(event, context)})
    except Exception as error:
        traceback.print_exc()
        message = encode({"error": {"type": type(error).__name__, "message": str(error)}})
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(f"REPORT RequestId: {request_id} Duration: {(time.monotonic() - started) * 1000:.1f} ms", flush=True)
    return message


def encode(message: dict[str, Any]) -> bytes:
    """JSON as Lambda's runtime writes it. Raises `TypeError`, and `ValueError` for NaN and infinity."""

    def default(value: Any) -> Any:
        if isinstance(value, Decimal):
            return float(value)
        raise TypeError(f"expected a result of JSON values, received a {type(value).__name__}")

    return json.dumps(message, default=default, allow_nan=False).encode()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the parent, which then closes the connection
    serve(Connection(int(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # as Lambda ends an instance: freeing a loaded model would take a second
