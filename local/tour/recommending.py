"""The steps of the tour that recommend: for somebody known, after a purchase, for somebody new, and of something new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from local.tour.guide import Tour, purchase
from local.tour.show import pick

_LIST: Final = 5
_NEW: Final = "new-arrival"
_COPIED: Final = ("category",)  # of the item that the new one is made to look like


def next_items(tour: Tour) -> None:
    asked = {"user_id": _household(tour), "k": _LIST, "explain": True}
    answer = tour.ask("POST", "/v1/recommendations", asked)
    tour.show.table(
        [["", "item", "why"], *([str(item["rank"]), _named(item), item["reason"]["text"]] for item in answer["items"])]
    )
    tour.show.note("What speaks for the first one, with the sampling error of each contribution:")
    tour.show.value(answer["items"][0].get("explanation"))


def after_a_purchase(tour: Tour) -> None:
    household = _household(tour)
    asked = {"user_id": household, "k": _LIST, "filters": {"not_purchased": True}}
    before = tour.ask("POST", "/v1/recommendations", asked)
    bought = before["items"][0]
    event = {"user_id": household, **purchase(0, bought["item_id"]), "event_id": "the-tour-2"}
    tour.ask("POST", "/v1/events", {"events": [event]})
    after = tour.ask("POST", "/v1/recommendations", asked)
    tour.show.note(f"Things never bought so far, before and after buying {_named(bought)}:")
    tour.show.table([["", "before", "after"], *_side_by_side(before["items"], after["items"])])


def cold_starts(tour: Tour) -> None:
    tour.show.note("A user that nobody knows gets what many take, and the answer says so:")
    answer = tour.ask("POST", "/v1/recommendations", {"user_id": "a-visitor", "k": _LIST})
    tour.show.value(pick(answer, ("personalized", "warnings")))
    tour.show.table([[str(item["rank"]), _named(item), item["reason"]["text"]] for item in answer["items"]])

    liked = tour.ask("POST", "/v1/recommendations", {"user_id": _household(tour), "k": _LIST})["items"]
    looks = pick(liked[0]["metadata"], _COPIED)
    tour.show.note("An item arrives that no model was trained on; its vector comes from what is said of it:")
    item = {"item_id": _NEW, "title": liked[0]["metadata"].get("title") or "Something new", **looks}
    tour.show.value(pick(tour.ask("PUT", "/v1/items", {"items": [item]}), ("stored", "catalogue")))
    alike = tour.ask("GET", f"/v1/items/{_NEW}/similar?k=3")
    tour.show.note(f"It is like: {', '.join(_named(other) for other in alike['items']) or 'nothing so far'}")
    ranked = tour.ask(
        "POST", "/v1/rankings", {"user_id": _household(tour), "items": [_NEW, *(other["item_id"] for other in answer["items"])]}
    )
    tour.show.note("Its place for the customer from before, among what everybody takes:")
    tour.show.table([[str(one["rank"]), _named(one)] for one in ranked["items"]])


def _household(tour: Tour) -> str:
    assert tour.planted is not None
    return tour.planted.household


def _named(item: dict[str, Any]) -> str:
    """The title where there is one; in this shop several items share one, so the id goes with it."""
    title = item.get("metadata", {}).get("title")
    return f"{title} ({item['item_id']})" if title else str(item["item_id"])


def _side_by_side(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> list[list[str]]:
    columns = [[_named(item) for item in items] + ["–"] * (_LIST - len(items)) for items in (before, after)]
    return [[str(rank), *pair] for rank, pair in enumerate(zip(*columns, strict=True), 1)]
