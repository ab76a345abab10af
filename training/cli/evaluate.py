"""``evaluate ads``: off-policy evaluation, from a log with propensities."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from training.cli.arguments import add_mapping


def add(commands: Any) -> None:
    """Add ``evaluate``."""
    parser = commands.add_parser("evaluate", help="estimate the value of a policy from a log of another one")
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    ads = jobs.add_parser("ads", help="a policy of choosing ads, from impressions with propensities")
    ads.add_argument("--log", type=Path, required=True, metavar="F", help="impressions with propensity and a reward")
    ads.add_argument(
        "--policy", required=True, metavar="POLICY", help="uniform, ad:ID, column:NAME, or FILE.json with {ad id: probability}"
    )
    ads.add_argument("--reward", metavar="COL", help="default: the first of click, conversion, conversion_value in the log")
    add_mapping(ads)
    ads.add_argument("--out", type=Path, metavar="F", help="write the report to this file; default: print it")
    ads.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print or write the report."""
    from training.evaluation.logged_policy import policy_column, read_log, target_policy
    from training.evaluation.off_policy import evaluate_policy

    log = read_log(arguments.log, arguments.reward, policy_column(arguments.policy), arguments.map)
    report = {"policy": arguments.policy, "reward": log.reward, "ads": len(log.ads), "rows_left_out": log.left_out}
    report |= evaluate_policy(log.logged, target_policy(log, arguments.policy))
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text + "\n", "utf-8")
