"""python -m local: serve, drop, env, tour."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from local import BUNDLES, HOME, TEMPLATE, stack_file

_EPILOG = """the running stack is found by stack.json in the --home directory; exit status: 0 done, 1 failed, 2 wrong use"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (stack_file.NotRunning, stack_file.AlreadyRunning) as error:
        print(error, file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole stack on one machine.", epilog=_EPILOG)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", type=Path, default=HOME, metavar="DIR", help="stack.json and logs (default: .local)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[common], help="run the stack until Ctrl-C")
    serve.add_argument("--port", type=int, default=3000, help="of the API (default: 3000)")
    serve.add_argument("--host", default="127.0.0.1", help="address of the API; any but loopback needs --api-key")
    serve.add_argument("--api-key", metavar="K", help="key that requests must have in x-api-key")
    serve.add_argument("--bundles", default=str(BUNDLES / "*"), metavar="PATTERN",
                       help="bundle directories to publish at start (default: build/bundles/*)")  # fmt: skip
    serve.add_argument("--bridge", nargs="?", const="docker0", metavar="ADDRESS",
                       help="serve containers the embedded services too, at this address or docker0's")  # fmt: skip
    serve.add_argument("--template", type=Path, default=TEMPLATE, help="SAM template (default: template.yaml)")
    serve.set_defaults(run=_serve)

    drop = commands.add_parser("drop", parents=[common], help="drop a file in the inbox and fetch its results")
    drop.add_argument("job", metavar="JOB", help="profiles, recommendations, ads, or one of them with -table")
    drop.add_argument("file", type=Path, metavar="FILE")
    drop.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory for the job's files")
    drop.add_argument("--map", metavar="M", help="user_id=CustomerID,event_type==purchase or a JSON file")
    drop.add_argument("--table", metavar="KIND", help="kind of table, where the columns are ambiguous")
    drop.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="(default: 900)")
    drop.set_defaults(run=_drop)

    env = commands.add_parser("env", parents=[common], help="an env-vars file for `sam local invoke`")
    env.add_argument("function", metavar="FUNCTION", help="logical id in template.yaml")
    env.add_argument("--out", type=Path, metavar="F", help="file to write (default: print)")
    env.set_defaults(run=_env)

    tour = commands.add_parser(
        "tour", parents=[common], help="train, publish, drop a file, call the API: what `make demo` runs"
    )
    tour.add_argument("--fresh", action="store_true", help="train again (also: FRESH=1)")
    tour.set_defaults(run=_tour)
    return parser


def _serve(options: argparse.Namespace) -> int:
    from local.serve import serve  # imported by the command that needs it: moto takes a second

    return serve(options)


def _drop(options: argparse.Namespace) -> int:
    from local.drop import drop

    return drop(options)


def _env(options: argparse.Namespace) -> int:
    from local.env import variables

    stack = stack_file.find(options.home)
    try:
        content = json.dumps(variables(stack, options.function), indent=2) + "\n"
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if not stack["bridge_endpoint"]:
        print("containers cannot reach this stack; start it with --bridge", file=sys.stderr)
    if options.out:
        options.out.write_text(content)
    else:
        print(content, end="")
    return 0


def _tour(options: argparse.Namespace) -> int:
    from local.tour import tour

    return tour(options.home, fresh=options.fresh)


if __name__ == "__main__":
    sys.exit(main())
