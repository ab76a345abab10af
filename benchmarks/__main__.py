"""`make bench`: every measurement in turn, or those that are named."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final

# In the order of how long they take. Each writes results/<name>.json.
SCRIPTS: Final = (
    "structure",
    "artefact_sizes",
    "profiles_handler",
    "recommendations_handler",
    "recommendations_batch",
    "ads_handler",
    "ads_policies",
    "ads_pacing",
    "ads_overspend",
    "ads_writers",
    "cold_start",
    "profiles_explain",
    "recommendations_explain",
    "recommendations_retrieval",
    "batch_rows",
    "ads_coupons",
    "ads_movielens",
    "ads_categorical",
    "customer_base",
    "profiles_tasks",
    "flat_table",
    "recommendations_speed",
    "next_basket",
    "cold_items",
    "recommendations_scale",
    "recommendations_beauty",
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[[], *SCRIPTS], metavar="NAME", help=f"of {', '.join(SCRIPTS)}; all of them"
    )
    for name in parser.parse_args().names or SCRIPTS:
        sys.argv = [name]  # a script has no arguments but its defaults here
        importlib.import_module(f"benchmarks.{name}").main()
