"""The recommendations steps of the tour: for a customer, after a purchase, for a new user, and of a new item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from local.tour.context import Tour, purchase
from local.tour.terminal import pick

_LIST: Final = 5
_NEW: Final = "new-arrival"
_COPIED: Final = ("category",)  # of the item that the new one is made to look like


def next_items(tour: Tour) -> None:
    body = {"user_id": _household(tour), "k": _LIST, "explain": True}
    response = tour.call("POST", "/v1/recommendations", body)
    tour.terminal.table(
        [["", "item", "why"], *([str(item["rank"]), _named(item), item["reason"]["text"]] for item in response["items"])]
    )
    tour.terminal.note("Contributions to the score of the first item, each with its standard error:")
    tour.terminal.value(response["items"][0].get("explanation"))


def after_a_purchase(tour: Tour) -> None:
    household = _household(tour)
    body = {"user_id": household, "k": _LIST, "filters": {"not_purchased": True}}
    before = tour.call("POST", "/v1/recommendations", body)
    bought = before["items"][0]
    event = {"user_id": household, **purchase(0, bought["item_id"]), "event_id": "the-tour-2"}
    tour.call("POST", "/v1/events", {"events": [event]})
    after = tour.call("POST", "/v1/recommendations", body)
    tour.terminal.note(f"Items that the customer never bought, before and after buying {_named(bought)}:")
    tour.terminal.table([["", "before", "after"], *_side_by_side(before["items"], after["items"])])


def cold_starts(tour: Tour) -> None:
    tour.terminal.note("A new user gets popular items, and the response says that the list is not personal:")
    response = tour.call("POST", "/v1/recommendations", {"user_id": "a-visitor", "k": _LIST})
    tour.terminal.value(pick(response, ("personalized", "warnings")))
    tour.terminal.table([[str(item["rank"]), _named(item), item["reason"]["text"]] for item in response["items"]])

    liked = tour.call("POST", "/v1/recommendations", {"user_id": _household(tour), "k": _LIST})["items"]
    looks = pick(liked[0]["metadata"], _COPIED)
    tour.terminal.note("A new item: its embedding comes from its columns, since no model was trained on it:")
    item = {"item_id": _NEW, "title": liked[0]["metadata"].get("title") or "Something new", **looks}
    tour.terminal.value(pick(tour.call("PUT", "/v1/items", {"items": [item]}), ("stored", "catalogue")))
    alike = tour.call("GET", f"/v1/items/{_NEW}/similar?k=3")
    tour.terminal.note(f"Similar items: {', '.join(_named(other) for other in alike['items']) or 'none'}")
    ranked = tour.call(
        "POST",
        "/v1/rankings",
        {"user_id": _household(tour), "items": [_NEW, *(other["item_id"] for other in response["items"])]},
    )
    tour.terminal.note("Its rank for the same customer, among the popular items:")
    tour.terminal.table([[str(one["rank"]), _named(one)] for one in ranked["items"]])


def _household(tour: Tour) -> str:
    assert tour.dropped is not None
    return tour.dropped.household


def _named(item: dict[str, Any]) -> str:
    """The title with the id, because several items share a title; the id where there is no title."""
    title = item.get("metadata", {}).get("title")
    return f"{title} ({item['item_id']})" if title else str(item["item_id"])


def _side_by_side(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> list[list[str]]:
    columns = [[_named(item) for item in items] + ["–"] * (_LIST - len(items)) for items in (before, after)]
    return [[str(rank), *pair] for rank, pair in enumerate(zip(*columns, strict=True), 1)]
