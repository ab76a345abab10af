"""What a decision about ads costs: one candidate, fifty and five hundred in a call, with the demo's model and no store read.

The user comes with ready features, or with 50 events, and the call is a preview: the numbers are of scoring, auction and
answer; what DynamoDB adds depends on its distance.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from benchmarks import report, shop
from personalization.core.time import DAY_SECONDS
from personalization.features import FEATURES

NAME: Final = "ads_handler"
COUNTS: Final = (1, 50, 500)


USERS: Final[dict[str, dict[str, Any]]] = {
    "ready features": {"features": dict.fromkeys(FEATURES, 1.0) | {"preferred_category": "GROCERY"}},
    "50 events": {
        "events": [
            {"item_id": f"i{n}", "event_type": "purchase", "timestamp": 1_767_000_000 + DAY_SECONDS * n, "event_value": 3.5}
            for n in range(50)
        ]
    },
}


def event(candidates: int, user: str = "ready features") -> dict[str, Any]:
    """A request from API Gateway, for two slots."""
    example: dict[str, Any] = json.loads((Path(__file__).parents[1] / "events" / "rest_post_ads_score.json").read_text())
    rows = [
        {
            "ad_id": f"a{n}",
            "campaign_id": f"c{n // 5}",
            "creative": f"Type {'ABC'[n % 3]}",
            "channel": "mail",
            "coupons": n % 30,
            "products": n,
            "bid": 1 + n % 7,
            "billing": "cpm",
        }
        for n in range(candidates)
    ]
    body = {
        **USERS[user],
        "slots": [{"slot_id": "top"}, {"slot_id": "side"}],
        "candidates": rows,
        "preview": True,
    }
    return example | {"body": json.dumps(body)}


def main() -> None:
    bundle = shop.demo_bundle("ads")
    call = shop.handler("ads", bundle)
    one = bundle.encoder.encode({}, 1).inputs
    raw = report.repeat(lambda: bundle.session.run(bundle.output_names, one))
    rows: list[dict[str, Any]] = [{"what": "session.run alone, one row", "p50_ms": report.percentile(raw, 0.5)}]
    notes = []
    for user in USERS:
        found = []
        for count in COUNTS:
            request = event(count, user)
            with redirect_stdout(io.StringIO()):  # the function's metrics
                answer = call(request, None)
            content = json.loads(answer["body"])
            assert answer["statusCode"] == 200, content
            assert content["slots"][0]["winner"], content
            times = report.repeat(lambda request=request: call(request, None))
            found.append(report.percentile(times, 0.5))
            times_ms = {"p50_ms": found[-1], "p99_ms": report.percentile(times, 0.99)}
            rows.append({"what": f"handler, {user}, candidates: {count}", **times_ms})
        notes.append(f"{user}: 500 candidates cost {found[-1] / found[0]:.1f} × one")
    report.publish(NAME, "Ads handler, two slots, no store read (milliseconds)", rows, notes)


if __name__ == "__main__":
    main()
