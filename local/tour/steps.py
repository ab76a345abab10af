"""The steps of the tour. A further job adds its own to `STEPS`: a caption and a function of the `Tour`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from local import REPOSITORY
from local.inbox import Inbox
from local.tour import advertising, recommending
from local.tour.data import DATA, prepare, spoilt_file
from local.tour.guide import Tour, UnexpectedAnswer, purchase
from local.tour.models import against_baselines, metrics, models, train
from local.tour.show import pick

_DROP_SECONDS: Final = 300.0


def shop_data(tour: Tour) -> None:
    with tour.show.working(f"one year of a grocer's tills (the Complete Journey retail data set) in {_relative(DATA)}/"):
        tour.tables = prepare(tour.work / "logs" / "data.log")
    tour.show.table([[path.name, f"{path.stat().st_size / 1000:9,.0f} kB"] for path in tour.tables.all()])


def train_models(tour: Tour) -> None:
    assert tour.tables is not None
    rows = [["model", "made in", "on held-out data (best baseline)", ""]]
    for model in models(tour.tables, tour.bundles):
        log = REPOSITORY / "build" / "logs" / f"{model.name}.log"
        with tour.show.working(model.name):
            trained = train(model, log, fresh=tour.fresh)
        made = f"{metrics(model)['seconds']:.0f} s" if trained else "reused"
        rows.append([model.name, made, *(against_baselines(model, name) for name in model.headline)])
    tour.show.table(rows)
    tour.show.note(f"Each bundle has a report: open {_relative(tour.bundles)}/profiles/report.html")


def start(tour: Tour) -> None:
    with tour.show.working("buckets, queues, table, rules, routes and functions of template.yaml, on this machine"):
        tour.stack.start()
    tour.stack.announce()
    assert tour.tables is not None
    for bundle in tour.stack.publish([model.directory for model in models(tour.tables, tour.bundles)]):
        if bundle.problem:
            raise UnexpectedAnswer(f"{bundle.directory}: {bundle.problem}")
        tour.show.note(f"published and promoted: {bundle.name} {bundle.version}")


def drop_a_file(tour: Tour) -> None:
    assert tour.tables is not None
    planted = tour.planted = spoilt_file(tour.tables.interactions, tour.work / "purchases.csv")
    tour.show.note(f"{planted.rows:,} lines, of which these were spoilt on purpose:")
    for line, what in planted.bad:
        tour.show.note(f"  line {line:>7,}  {what}")
    results = _drop(tour, "profiles", planted.path)
    rejects = [json.loads(line) for line in (results / "rejects.jsonl").read_text().splitlines()]
    tour.show.note("Every line is accounted for, each reject with its line and reason (rejects.jsonl):")
    tour.show.table(
        [["line", "column", "reason"], *([f"{r['line']}", r["pointer"] or "(row)", r["reason"]] for r in rejects[:8])]
    )


def profile_of_a_customer(tour: Tour) -> None:
    assert tour.planted is not None
    tour.show.note("The dropped file is in the state, so a customer can be asked for by id:")
    tour.show.value(_profile(tour.ask("GET", f"/v1/profiles/{tour.planted.household}")))


def segments(tour: Tour) -> None:
    tour.show.note(
        "The job also told everybody's segment by what they are predicted to do; each is exported as a file of users:"
    )
    found = tour.ask("GET", "/v1/segments")["segments"]
    tour.show.table([["segment", "users", "what to do"], *([s["name"], f"{s['size']:,}", s["action"]] for s in found)])


def profile_of_events(tour: Tour) -> None:
    tour.show.note("A shopper that nobody knows, from the events in the request; nothing is stored:")
    events = [purchase(days, item) for days, item in ((40, "1082185"), (12, "1029743"), (3, "1082185"))]
    answer = tour.ask("POST", "/v1/profiles", {"users": [{"user_id": "a-visitor", "events": events}], "explain": True})
    tour.show.value(_profile(answer))
    tour.show.note("Why so likely to buy, or not: contributions to the logit, each with its sampling error")
    tour.show.value(answer["profiles"][0].get("explanation"))


def flat_tables(tour: Tour) -> None:
    assert tour.tables is not None
    for job, path in tour.tables.flat.items():
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows = [row for row, _ in zip(reader, range(3), strict=False)]
        labels = [row.pop("label") for row in rows]
        answer = tour.ask("POST", f"/v1/tables/{job}-table", {"rows": rows})
        told = [f"row {r['row']}: {r['probability']:.3f} (label {labels[r['row']]})" for r in answer["results"]]
        tour.show.note("  " + "   ".join(told))
    _drop(tour, "profiles-table", tour.tables.flat["profiles"])


def an_event_changes_the_profile(tour: Tour) -> None:
    assert tour.planted is not None
    path = f"/v1/profiles/{tour.planted.household}"
    before = tour.ask("GET", path)
    event = {"user_id": tour.planted.household, **purchase(0, "1082185"), "event_id": "the-tour-1"}
    tour.show.value(pick(tour.ask("POST", "/v1/events", {"events": [event]}), ("accepted", "duplicates")))
    after = tour.ask("GET", path)
    tour.show.table([["", "before", "after"], *([name, *pair] for name, pair in _moved(before, after).items())])


def forget_a_customer(tour: Tour) -> None:
    assert tour.planted is not None
    receipt = tour.ask("DELETE", f"/v1/users/{tour.planted.household}")
    tour.show.value(pick(receipt, ("removed",)))
    tour.show.table([[left["store"], left["what"], f"gone by {left['gone_by'][:10]}"] for left in receipt["expires_later"]])


def what_answers(tour: Tour) -> None:
    models = tour.ask("GET", "/v1/models")["models"]
    tour.show.table([[model["name"], model["state"], model.get("version", "")] for model in models])
    tour.show.value(pick(tour.ask("GET", "/v1/health"), ("status", "degraded", "degraded_reason")))


STEPS: Final[list[tuple[str, Callable[[Tour], None]]]] = [
    ("Real shop data", shop_data),
    ("Training: raw events to profiles, recommendations and ads, and three flat tables", train_models),
    ("The stack", start),
    ("A file dropped in the inbox, with a few bad rows", drop_a_file),
    ("Who is this customer, and what will they do?", profile_of_a_customer),
    ("Which segments are there, and what to do with them?", segments),
    ("The same for somebody unknown, and why", profile_of_events),
    ("What to show a customer next, and why", recommending.next_items),
    ("Something was bought: the next list knows it", recommending.after_a_purchase),
    ("Somebody new, and an item that nobody had yet", recommending.cold_starts),
    ("Which coupon for whom: expected value, and why the others lost", advertising.coupons),
    ("An auction before and after a budget runs out", advertising.budget),
    ("When and how to send it: a plan", advertising.plan),
    ("Flat tables: one probability a row", flat_tables),
    ("An event arrives, and the next answer knows it", an_event_changes_the_profile),
    ("A customer asks to be forgotten, and gets a receipt", forget_a_customer),
    ("Which models answer, and is all well?", what_answers),
]


def _drop(tour: Tour, name: str, path: Path) -> Path:
    """Drop a file, wait, show its manifest; the directory with the results."""
    out = tour.work / "results" / name
    inbox = Inbox(tour.stack.description())
    tour.show.call(f"python -m local drop {name} {_relative(path)} --out {_relative(out)}")
    with tour.show.working("through bucket, event rule, queue and function"):
        drop = inbox.drop(name, path)
        inbox.wait(drop, _DROP_SECONDS)
    manifest = inbox.fetch(drop, out)
    shown = ("kind", "rows_in", "rows_used", "rejected", "returns", "users", "as_of", "reasons", "model")
    tour.show.value({name: part for name, part in pick(manifest, shown).items() if part not in (None, {})})
    return out


def _profile(answer: dict[str, Any]) -> dict[str, Any]:
    """The first profile of an answer, and what the answer says of itself."""
    shown = (
        "user_id", "as_of", "segment", "recency", "frequency", "value", "preferred_categories", "propensity", "churn_risk",
        "expected_orders", "expected_spend", "next_categories",
    )  # fmt: skip
    return pick(answer["profiles"][0], shown) | pick(answer, ("model", "degraded", "degraded_reason"))


def _moved(*answers: dict[str, Any]) -> dict[str, list[str]]:
    """Numbers of each answer's profile that an event moves."""
    told: dict[str, list[str]] = {}
    for profile in (answer["profiles"][0] for answer in answers):
        moving = (
            profile["frequency"]
            | profile["recency"]
            | pick(profile, ("probability", "churn_risk", "expected_orders", "expected_spend"))
        )
        for name, value in moving.items():
            told.setdefault(name, []).append("–" if value is None else f"{value:.3f}".removesuffix(".000"))
    return told


def _relative(path: Path) -> Path:
    return path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path
