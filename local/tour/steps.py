"""The steps of the tour, in order: `STEPS` has a caption and a function for each."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from local import REPOSITORY
from local.inbox import Inbox
from local.tour import ads_steps, recommendation_steps
from local.tour.context import Tour, UnexpectedResponse, purchase
from local.tour.data import DATA, prepare, spoilt_file
from local.tour.models import against_baselines, metrics, models, train
from local.tour.terminal import pick

_DROP_SECONDS: Final = 300.0


def shop_data(tour: Tour) -> None:
    with tour.terminal.working(f"one year of a grocer's tills (the Complete Journey retail data set) in {_relative(DATA)}/"):
        tour.tables = prepare(tour.work / "logs" / "data.log")
    tour.terminal.table([[path.name, f"{path.stat().st_size / 1000:9,.0f} kB"] for path in tour.tables.all()])


def train_models(tour: Tour) -> None:
    assert tour.tables is not None
    rows = [["model", "trained in", "on held-out data (best baseline)", ""]]
    for model in models(tour.tables, tour.bundles):
        log = REPOSITORY / "build" / "logs" / f"{model.name}.log"
        with tour.terminal.working(model.name):
            trained = train(model, log, fresh=tour.fresh)
        seconds = f"{metrics(model)['seconds']:.0f} s" if trained else "reused"
        rows.append([model.name, seconds, *(against_baselines(model, name) for name in model.headline)])
    tour.terminal.table(rows)
    tour.terminal.note(f"Each bundle has a report: open {_relative(tour.bundles)}/profiles/report.html")


def start(tour: Tour) -> None:
    with tour.terminal.working("buckets, queues, table, rules, routes and functions of template.yaml, on this machine"):
        tour.stack.start()
    tour.stack.announce()
    assert tour.tables is not None
    for bundle in tour.stack.publish([model.directory for model in models(tour.tables, tour.bundles)]):
        if bundle.problem:
            raise UnexpectedResponse(f"{bundle.directory}: {bundle.problem}")
        tour.terminal.note(f"published and promoted: {bundle.name} {bundle.version}")


def drop_a_file(tour: Tour) -> None:
    assert tour.tables is not None
    dropped = tour.dropped = spoilt_file(tour.tables.interactions, tour.work / "purchases.csv")
    tour.terminal.note(f"{dropped.rows:,} lines, of which these are invalid on purpose:")
    for line, what in dropped.bad:
        tour.terminal.note(f"  line {line:>7,}  {what}")
    results = _drop(tour, "profiles", dropped.path)
    rejects = [json.loads(line) for line in (results / "rejects.jsonl").read_text().splitlines()]
    tour.terminal.note("Every line is accounted for, each reject with its line and reason (rejects.jsonl):")
    tour.terminal.table(
        [["line", "column", "reason"], *([f"{r['line']}", r["pointer"] or "(row)", r["reason"]] for r in rejects[:8])]
    )


def profile_of_a_customer(tour: Tour) -> None:
    assert tour.dropped is not None
    tour.terminal.note("The events of the file are in the state table, so a profile can be requested by user id:")
    tour.terminal.value(_profile(tour.call("GET", f"/v1/profiles/{tour.dropped.household}")))


def segments(tour: Tour) -> None:
    tour.terminal.note(
        "The job also assigned each user to a segment by predicted behaviour, and exported each segment as a file of user ids:"
    )
    segments = tour.call("GET", "/v1/segments")["segments"]
    tour.terminal.table([["segment", "users", "what to do"], *([s["name"], f"{s['size']:,}", s["action"]] for s in segments)])


def profile_of_events(tour: Tour) -> None:
    tour.terminal.note("A user without stored events, from the events in the request; nothing is stored:")
    events = [purchase(days, item) for days, item in ((40, "1082185"), (12, "1029743"), (3, "1082185"))]
    response = tour.call("POST", "/v1/profiles", {"users": [{"user_id": "a-visitor", "events": events}], "explain": True})
    tour.terminal.value(_profile(response))
    tour.terminal.note("Contributions of the features to the logit of the probability, each with its standard error:")
    tour.terminal.value(response["profiles"][0].get("explanation"))


def flat_tables(tour: Tour) -> None:
    assert tour.tables is not None
    for job, path in tour.tables.flat.items():
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows = [row for row, _ in zip(reader, range(3), strict=False)]
        labels = [row.pop("label") for row in rows]
        response = tour.call("POST", f"/v1/tables/{job}-table", {"rows": rows})
        texts = [f"row {r['row']}: {r['probability']:.3f} (label {labels[r['row']]})" for r in response["results"]]
        tour.terminal.note("  " + "   ".join(texts))
    _drop(tour, "profiles-table", tour.tables.flat["profiles"])


def an_event_changes_the_profile(tour: Tour) -> None:
    assert tour.dropped is not None
    path = f"/v1/profiles/{tour.dropped.household}"
    before = tour.call("GET", path)
    event = {"user_id": tour.dropped.household, **purchase(0, "1082185"), "event_id": "the-tour-1"}
    tour.terminal.value(pick(tour.call("POST", "/v1/events", {"events": [event]}), ("accepted", "duplicates")))
    after = tour.call("GET", path)
    tour.terminal.table([["", "before", "after"], *([name, *pair] for name, pair in _changes(before, after).items())])


def forget_a_customer(tour: Tour) -> None:
    assert tour.dropped is not None
    receipt = tour.call("DELETE", f"/v1/users/{tour.dropped.household}")
    tour.terminal.value(pick(receipt, ("removed",)))
    tour.terminal.table(
        [[left["store"], left["what"], f"deleted by {left['gone_by'][:10]}"] for left in receipt["expires_later"]]
    )


def models_and_health(tour: Tour) -> None:
    models = tour.call("GET", "/v1/models")["models"]
    tour.terminal.table([[model["name"], model["state"], model.get("version", "")] for model in models])
    tour.terminal.value(pick(tour.call("GET", "/v1/health"), ("status", "degraded", "degraded_reason")))


STEPS: Final[list[tuple[str, Callable[[Tour], None]]]] = [
    ("Real shop data", shop_data),
    ("Training: raw events to profiles, recommendations and ads, and three flat tables", train_models),
    ("The stack", start),
    ("A file dropped in the inbox, with a few bad rows", drop_a_file),
    ("A customer's profile: activity, segment, predictions", profile_of_a_customer),
    ("Segments by predicted behaviour, with an action for each", segments),
    ("A profile from the events of a request, explained", profile_of_events),
    ("Recommendations for a customer, explained", recommendation_steps.next_items),
    ("Recommendations before and after a purchase", recommendation_steps.after_a_purchase),
    ("A new user and a new item", recommendation_steps.cold_starts),
    ("Coupon campaigns for a customer: expected value, and why the others lost", ads_steps.coupons),
    ("An auction until a budget is spent", ads_steps.budget),
    ("A plan: the best hours and creatives for an ad", ads_steps.plan),
    ("Flat tables: one probability for each row", flat_tables),
    ("A profile before and after an event", an_event_changes_the_profile),
    ("A user is erased, with a receipt", forget_a_customer),
    ("Models and health", models_and_health),
]


def _drop(tour: Tour, name: str, path: Path) -> Path:
    """Drop a file, wait, print its manifest; returns the directory of the results."""
    out = tour.work / "results" / name
    inbox = Inbox(tour.stack.description())
    tour.terminal.command(f"python -m local drop {name} {_relative(path)} --out {_relative(out)}")
    with tour.terminal.working("through bucket, event rule, queue and function"):
        drop = inbox.drop(name, path)
        inbox.wait(drop, _DROP_SECONDS)
    manifest = inbox.fetch(drop, out)
    shown = ("kind", "rows_in", "rows_used", "rejected", "returns", "users", "as_of", "reasons", "model")
    tour.terminal.value({name: part for name, part in pick(manifest, shown).items() if part not in (None, {})})
    return out


def _profile(response: dict[str, Any]) -> dict[str, Any]:
    """The first profile of a response, with its model and whether it is degraded."""
    shown = (
        "user_id", "as_of", "segment", "recency", "frequency", "value", "preferred_categories", "propensity", "churn_risk",
        "expected_orders", "expected_spend", "next_categories",
    )  # fmt: skip
    return pick(response["profiles"][0], shown) | pick(response, ("model", "degraded", "degraded_reason"))


def _changes(*responses: dict[str, Any]) -> dict[str, list[str]]:
    """The numbers of each response's profile that change with an event."""
    numbers: dict[str, list[str]] = {}
    for profile in (response["profiles"][0] for response in responses):
        changing = (
            profile["frequency"]
            | profile["recency"]
            | pick(profile, ("probability", "churn_risk", "expected_orders", "expected_spend"))
        )
        for name, value in changing.items():
            numbers.setdefault(name, []).append("–" if value is None else f"{value:.3f}".removesuffix(".000"))
    return numbers


def _relative(path: Path) -> Path:
    return path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path
