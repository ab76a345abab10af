"""The history of the user of a request, and the items of its context: what the page shows and the cart holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from personalization.api.recommendations.schemas import BaseRequest
from personalization.api.services import Services
from personalization.core.errors import StateUnavailable
from personalization.core.schema import EVENT_CODE, VIEW
from personalization.features import events_known_at
from personalization.recommendations.history import InteractionHistory, from_events, from_items
from personalization.recommendations.serving_catalog import ServingCatalog


@dataclass(frozen=True)
class UserHistory:
    """history          of one user
    timed            whether it holds real times
    degraded_reason  why it is incomplete, empty where it is not
    """

    history: InteractionHistory
    timed: bool
    degraded_reason: str = ""
    warnings: list[str] = field(default_factory=list)


def load_history(services: Services, catalog: ServingCatalog, request: BaseRequest, now_ms: int) -> UserHistory:
    """The history of the request, else that of state; after it the items of the context. Unknown items are skipped."""
    recommender = catalog.recommender
    history, timed = None, False
    degraded_reason, warnings = "", []
    if request.history is not None:
        codes, unknown = catalog.lookup(request.history)
        if unknown:
            warnings.append(f"{len(unknown)} of {len(request.history)} items of the history are not known and were skipped")
        history = from_items([codes], recommender.pace, recommender.window.max_events)
    elif request.user_id is not None and request.personalization == "on":
        try:
            events = events_known_at(services.state.read(request.user_id).events, now_ms)
            codes_of_events = catalog.codes(events.items)
            skipped = int((codes_of_events < 0).sum())
            if skipped:
                warnings.append(f"{skipped} items of the user's history are not known and were skipped")
            history, timed = from_events(events, codes_of_events, now_ms, recommender.window), True
        except StateUnavailable as error:
            degraded_reason = f"answered as for a user without a history: {error.detail}"
    if history is None:
        history = from_items([[]], recommender.pace, 1)
    context = request.context
    codes, unknown = catalog.lookup([*context.cart, *([context.item_id] if context.item_id else [])])
    if unknown:
        warnings.append(f"{len(unknown)} items of the context are not known and were skipped")
    return UserHistory(_with_context(history, codes) if codes else history, timed, degraded_reason, warnings)


def _with_context(history: InteractionHistory, codes: Sequence[int]) -> InteractionHistory:
    """The history with items that are viewed now as its newest basket. They were not bought."""
    count = len(codes)
    return replace(
        history,
        item=np.append(history.item, np.array(codes, np.int32)).astype(np.int32),
        offsets=history.offsets + np.array([0, count]),
        basket=np.append(history.basket + 1, np.zeros(count, np.int32)).astype(np.int32),
        age=np.append(history.age, np.zeros(count, np.float32)).astype(np.float32),
        event=np.append(history.event, np.full(count, EVENT_CODE[VIEW], np.int8)).astype(np.int8),
    )
