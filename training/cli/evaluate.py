"""``evaluate ads``: what another policy would have earned, from a log with propensities."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from training.cli.arguments import add_mapping


def add(commands: Any) -> None:
    """Add ``evaluate``."""
    parser = commands.add_parser("evaluate", help="judge a policy from a log, without trying it")
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    ads = jobs.add_parser("ads", help="a policy of choosing ads, from logged impressions with their propensities")
    ads.add_argument("--log", type=Path, required=True, metavar="F", help="impressions with propensity and a reward")
    ads.add_argument(
        "--policy", required=True, metavar="POLICY", help="uniform, ad:ID, column:NAME, or FILE.json with {ad id: probability}"
    )
    ads.add_argument("--reward", metavar="COL", help="click, conversion or conversion_value; else the first that the log has")
    add_mapping(ads)
    ads.add_argument("--out", type=Path, metavar="F", help="write the report there instead of printing it")
    ads.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print or write the report."""
    from training.evaluation.logged_policy import column_of, read_log, target_of
    from training.evaluation.off_policy import report

    log = read_log(arguments.log, arguments.reward, column_of(arguments.policy), arguments.map)
    found = {"policy": arguments.policy, "reward": log.reward, "ads": len(log.ads), "rows_left_out": log.left_out}
    found |= report(log.logged, target_of(log, arguments.policy))
    text = json.dumps(found, indent=2, ensure_ascii=False)
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text + "\n", "utf-8")
