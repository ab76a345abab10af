"""The gateway's HTTP server: werkzeug's, one thread for each request. It closes the connection after each response."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any, Final

import werkzeug
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.serving import WSGIRequestHandler, make_server

from local.gateway import Gateway
from local.proxy import Request, Response

MAX_BODY: Final = 10 * 1024 * 1024  # bytes: API Gateway's limit; the functions publish smaller ones
_IDLE_SECONDS: Final = 60.0
logger = logging.getLogger(__name__)


class GatewayServer:
    """Binds `host`:`port` (0: a free port) at once, and answers requests through a gateway from `start` to `stop`.

    Raises `OSError` where the port is in use.
    """

    def __init__(self, host: str, port: int) -> None:
        self._gateway: Gateway
        try:
            self._server = make_server(host, port, self._application, threaded=True, request_handler=_ConnectionHandler)
        except SystemExit:  # werkzeug prints advice and exits
            raise OSError(f"port {port} of {host} is in use") from None
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self.url = f"http://{host}:{self._server.server_port}"

    def start(self, gateway: Gateway) -> None:
        """Answer requests in a thread."""
        self._gateway = gateway
        self._thread.start()

    def stop(self) -> None:
        """Accept no more connections and close the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def _application(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        incoming = werkzeug.Request(environ)
        incoming.max_content_length = MAX_BODY
        try:
            body = incoming.get_data(cache=False)
        except RequestEntityTooLarge:
            body = None
        request = self._request(environ, body or b"")
        if body is None:
            response = self._gateway.own_response("REQUEST_TOO_LARGE", request)
        else:
            try:
                response = self._gateway.respond(request)
            except Exception:
                logger.exception("the gateway failed")
                response = self._gateway.own_response("DEFAULT_5XX", request)
        return _outgoing(response, request)(environ, start_response)

    def _request(self, environ: dict[str, Any], body: bytes) -> Request:
        handler: _ConnectionHandler = environ["werkzeug.socket.handler"]
        path, _, query = handler.path.partition("?")  # percent-encoded, as API Gateway passes it on
        stage = self._gateway.api.stage
        path = path.removeprefix(f"/{stage}") if path.startswith(f"/{stage}/") else path
        headers = list(handler.headers.items())
        return Request(handler.command, path, query, headers, body, str(handler.client_address[0]), stage)


def _outgoing(response: Response, request: Request) -> werkzeug.Response:
    outgoing = werkzeug.Response(response.body, response.status)
    outgoing.headers.clear()
    outgoing.headers.extend(response.headers)
    outgoing.headers["x-amzn-RequestId"] = request.request_id
    if response.status not in (204, 304):
        outgoing.headers["Content-Length"] = str(len(response.body))
    return outgoing


class _ConnectionHandler(WSGIRequestHandler):
    timeout = _IDLE_SECONDS

    def make_environ(self) -> dict[str, Any]:
        return super().make_environ() | {"werkzeug.socket.handler": self}

    def version_string(self) -> str:
        return "local"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the gateway logs routes, and request lines hold user ids."""
