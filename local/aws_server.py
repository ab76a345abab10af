"""The child process of the embedded AWS services: moto's server on the given addresses.

`local.aws` starts it as ``python -m local.aws_server FD ADDRESS…``. It writes its port to that file descriptor and ends when
the parent closes it. It is a process of its own because moto keeps accounts in globals and reads the machine's AWS settings.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

from moto.server import ThreadedMotoServer


def main(descriptor: int, addresses: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the parent, which then closes the connection
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # otherwise one line for each request
    connection = Connection(descriptor)
    port = 0
    for address in addresses:  # several addresses of one memory, on one port, so that their URLs differ in the host only
        server = ThreadedMotoServer(ip_address=address, port=port, verbose=False)
        server.start()
        port = server.get_host_and_port()[1]
    connection.send_bytes(str(port).encode())
    with contextlib.suppress(EOFError):
        connection.recv_bytes()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
