"""Many writers at once on one campaign's money: all that is charged is settled, and no more than there is.

python -m benchmarks.ads_writers [--writers 100]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.report import publish
from local.aws import EmbeddedAws
from personalization.ads.budgets.accounts import Account, Charge, Committed
from personalization.ads.budgets.store import Budgets
from personalization.ads.candidates import CPM


def concurrent_writers(writers: int, decisions: int) -> dict[str, Any]:
    """Writers at once on one campaign with money for half of their decisions, over HTTP; DynamoDB's own order of writes is
    kept by a lock around the fake, which looks first and writes then."""
    scratch = tempfile.TemporaryDirectory()
    aws = EmbeddedAws(Path(scratch.name) / "aws.log")
    aws.start()
    try:
        client = aws.client("dynamodb")
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        client.create_table(
            TableName="t",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        )
        lock = threading.Lock()

        class Serial:
            exceptions = client.exceptions

            def __getattr__(self, name: str) -> Any:
                call = getattr(client, name)

                def locked(**request: Any) -> Any:
                    with lock:
                        return call(**request)

                return locked

        serial: Any = Serial()
        account = Account("c", 7 * (writers * decisions // 2) + 3, 2_000_000_000)
        gate = threading.Barrier(writers)

        def write(n: int) -> int:
            budgets = Budgets(serial, "t")
            gate.wait()
            charges = [Charge("a", account, CPM, 7_000, 7)]
            return sum(isinstance(budgets.commit(f"{n}-{k}", charges), Committed) for k in range(decisions))

        started = time.perf_counter()
        with ThreadPoolExecutor(writers) as pool:
            stood = sum(pool.map(write, range(writers)))
        seconds = time.perf_counter() - started
        items = client.scan(TableName="t")["Items"]
        settled = sum(int(item["settled"]["N"]) for item in items if "settled" in item)
        slices = sum("available" in item for item in items)
        return {
            "writers": writers,
            "decisions": writers * decisions,
            "charged": stood,
            "settled / budget": settled / account.budget,
            "charged × price = settled": stood * 7 == settled,
            "slices": slices,
            "seconds": seconds,
        }
    finally:
        aws.stop()
        scratch.cleanup()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--writers", type=int, default=100)
    options = parser.parse_args([] if arguments is None else arguments)
    publish("ads_writers", "Writers at once on one campaign", [concurrent_writers(options.writers, 4)])


if __name__ == "__main__":
    main(sys.argv[1:])
