"""The embedded AWS services: moto's server on loopback, and its clients."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config

from local import REPOSITORY
from local.intrinsics import REGION

# Not secrets: moto accepts any credentials, and these replace the machine's real ones.
CREDENTIALS: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
BRIDGE_INTERFACE: Final = "docker0"
LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "SYSTEMROOT")


class EmbeddedAws:
    """S3, SQS, DynamoDB and EventBridge in the memory of a child process.

    bridge   a further address to listen on (that of a container bridge), or none
    log      file for the services' output
    """

    def __init__(self, log: Path, bridge: str | None = None) -> None:
        if bridge and ipaddress.ip_address(bridge).is_unspecified:
            raise ValueError(f"expected the address of one bridge, received {bridge}: nothing here checks credentials")
        self._log = log
        self._bridge = bridge
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""
        self.bridge_endpoint: str | None = None

    def start(self) -> None:
        """Start the services. Raises `RuntimeError` where they do not start; their log says why."""
        self._connection, child = Pipe()
        addresses = [LOOPBACK, *([self._bridge] if self._bridge else [])]
        with self._log.open("ab") as log, child:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.aws_server", str(child.fileno()), *addresses],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=isolated_environment(),
                cwd=REPOSITORY,
                pass_fds=(child.fileno(),),
            )
        try:
            if not self._connection.poll(_START_SECONDS):
                raise EOFError
            port = int(self._connection.recv_bytes())
        except EOFError:
            self.stop()
            raise RuntimeError(f"the embedded services did not start; see {self._log}") from None
        self.endpoint = f"http://{LOOPBACK}:{port}"
        self.bridge_endpoint = f"http://{self._bridge}:{port}" if self._bridge else None

    def stop(self) -> None:
        """Kill the process: it has nothing to save, and long polls would delay a soft stop."""
        if self._process:
            self._connection.close()
            self._process.kill()
            self._process.wait()

    def client(self, service: str) -> Any:
        return client(service, self.endpoint)


def client(service: str, endpoint: str) -> Any:
    """A boto3 client of an embedded service; the machine's AWS configuration is not used."""
    session = isolated_session()
    config = Config(retries={"total_max_attempts": 3}, max_pool_connections=20, s3={"addressing_style": "path"})
    return session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]


def isolated_session() -> boto3.Session:
    """A session with the local credentials and region, without AWS profiles and configuration files."""
    unset, nowhere = (None, None, None, None), (None, None, os.devnull, None)
    variables = {"profile": unset, "config_file": nowhere, "credentials_file": nowhere}
    return boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
        botocore_session=botocore.session.Session(session_vars=variables),
    )


def bridge_address(interface: str = BRIDGE_INTERFACE) -> str | None:
    """IPv4 address of this machine on the container bridge, or None where there is no such interface."""
    try:
        import fcntl  # not on Windows
    except ImportError:
        return None
    query_address = 0x8915  # Linux: SIOCGIFADDR
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), query_address, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def isolated_environment() -> dict[str, str]:
    """Environment of a child process: a few common variables and the local credentials, nothing else of this shell."""
    return {key: os.environ[key] for key in _INHERITED if key in os.environ} | dict(CREDENTIALS)
