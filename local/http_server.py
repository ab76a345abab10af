"""HTTP/1.1 on a socket for the gateway: keep-alive, one thread a connection."""

from __future__ import annotations

import json
import logging
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from werkzeug.serving import DechunkedInput

from local.gateway import Gateway
from local.proxy import Request, Response

MAX_BODY: Final = 10 * 1024 * 1024  # bytes, API Gateway's own; the functions publish smaller ones
_DRAIN: Final = 64 * 1024 * 1024  # bytes of a refused body that are read, so that the client gets to read the refusal
_IDLE_SECONDS: Final = 60.0
logger = logging.getLogger(__name__)


class GatewayServer(ThreadingHTTPServer):
    """Takes `host`:`port` (0: a free one) at once; serves a gateway there, in a thread of its own, from `start` to `stop`.

    Raises `OSError` where the port is in use.
    """

    daemon_threads = True
    request_queue_size = 128

    gateway: Gateway

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self.url = f"http://{host}:{self.server_address[1]}"

    def start(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that hung up is no error of ours
            logger.exception("a connection failed")


class _Handler(BaseHTTPRequestHandler):
    server: GatewayServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # buffered and flushed after each request, so that headers and body travel together
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS

    def _handle(self) -> None:
        gateway = self.server.gateway
        try:
            body = self._read_body()
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST, "expected a body of the announced length or in chunks")
            return
        request = self._request(body or b"")
        if body is None:
            self.close_connection = True
            self._send(gateway.own("REQUEST_TOO_LARGE", request), request)
            return
        try:
            response = gateway.answer(request)
        except Exception:
            logger.exception("the gateway failed")
            response = gateway.own("DEFAULT_5XX", request)
        self._send(response, request)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle  # noqa: N815

    def handle_expect_100(self) -> bool:
        """A client that asks before it sends a body is told at once where that is too large."""
        if int(self.headers.get("Content-Length") or 0) <= MAX_BODY:
            super().handle_expect_100()
            self.wfile.flush()
            return True
        self.close_connection = True
        request = self._request(b"")
        self._send(self.server.gateway.own("REQUEST_TOO_LARGE", request), request)
        return False

    def _request(self, body: bytes) -> Request:
        path, _, query = self.path.partition("?")
        stage = self.server.gateway.api.stage
        if path.startswith(f"/{stage}/"):
            path = path[len(stage) + 1 :]
        return Request(self.command, path, query, list(self.headers.items()), body, str(self.client_address[0]), stage)

    def _read_body(self) -> bytes | None:
        """The body, None where it is larger than the gateway takes. Raises `ValueError` for a wrong length."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = _dechunked(self.rfile)
            return body if len(body) <= MAX_BODY else None
        length = int(self.headers.get("Content-Length") or 0)
        if length < 0:
            raise ValueError(length)
        if length <= MAX_BODY:
            return self.rfile.read(length)
        left = min(length, _DRAIN)
        while left and (part := self.rfile.read(min(left, 1 << 16))):
            left -= len(part)
        return None

    def _send(self, response: Response, request: Request) -> None:
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("x-amzn-RequestId", request.request_id)
        bodiless = response.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        if not bodiless:
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if not bodiless and self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses (a malformed request line, an unknown method), as a problem like ours."""
        self.close_connection = True
        detail = message or explain or HTTPStatus(code).phrase
        problem = {"type": "about:blank", "title": HTTPStatus(code).phrase, "status": int(code), "detail": detail}
        body = json.dumps(problem).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The gateway logs routes; request lines hold user ids."""


def _dechunked(stream: Any) -> bytes:
    reader = DechunkedInput(stream)
    body = bytearray()
    try:
        while len(body) <= MAX_BODY and (part := reader.read(1 << 16)):
            body += part
    except OSError as error:
        raise ValueError(str(error)) from error
    return bytes(body)
