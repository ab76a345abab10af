"""The child process that is S3, SQS, DynamoDB and EventBridge: moto's server, on the addresses it is given.

Started by `local.aws` as ``python -m local.aws_server FD ADDRESS…``. Tells its port over that file descriptor and ends when
the parent hangs up. A process of its own, because moto keeps its accounts in globals and reads this machine's AWS settings.
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the parent, which then hangs up
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line a request
    connection = Connection(descriptor)
    port = 0
    for address in addresses:  # several doors to one memory, on one port, so that their URLs differ in the host only
        server = ThreadedMotoServer(ip_address=address, port=port, verbose=False)
        server.start()
        port = server.get_host_and_port()[1]
    connection.send_bytes(str(port).encode())
    with contextlib.suppress(EOFError):
        connection.recv_bytes()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
