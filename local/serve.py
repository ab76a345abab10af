"""`python -m local serve`: run the stack in the foreground until a signal stops it."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
import threading
from pathlib import Path

from local.aws import bridge_address
from local.bundles import Published, find_bundles
from local.intrinsics import TemplateError
from local.stack import Stack


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    bridge = options.bridge
    if bridge and not bridge[0].isdigit():
        bridge = bridge_address(bridge)
        if bridge is None:
            print(
                f"expected an interface named {options.bridge}, found none; give its address: --bridge 172.17.0.1",
                file=sys.stderr,
            )
            return 2
    try:
        stack = Stack(
            options.template, home=options.home, host=options.host, port=options.port, api_key=options.api_key, bridge=bridge
        )
        with stack:
            published = stack.publish(find_bundles(options.bundles))
            stack.announce()
            print(_welcome(stack, published, options.bundles), flush=True)
            stopping.wait()
            print("stopping", flush=True)
    except (TemplateError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print(f"port {options.port} of {options.host} is in use; choose another one with --port", file=sys.stderr)
        return 1
    return 0


def _welcome(stack: Stack, published: list[Published], pattern: str) -> str:
    lines = [f"The stack is running: {stack.url}/v1/health  (Ctrl-C stops it)", ""]
    for bundle in published:
        status = bundle.version if bundle.version else f"NOT published: {bundle.problem}"
        lines.append(f"  model  {bundle.name:<22} {status}")
    if not published:
        lines += [
            f"  No bundle found at {pattern}; responses are degraded until a model is published. To train one:",
            "    python -m training train profiles --interactions FILE --out build/bundles/profiles",
        ]
    lines += ["", f"  logs   {_short(stack.home / 'logs')}", "", "To use its services from another shell:"]
    lines += [f"  export {key}={value}" for key, value in stack.exports().items()]
    lines += [f"  export MODEL_STORE=s3://{stack.variable('MODELS_BUCKET')}"]
    if stack.aws.bridge_endpoint:
        lines += ["", f"Containers use {stack.aws.bridge_endpoint}"]
    return "\n".join(lines)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
