"""Whom a list is for: a history from the request, or from state, with what the page shows and the cart holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from personalization.api.recommendations.schemas import BaseRequest
from personalization.api.services import Services
from personalization.core.errors import StateUnavailable
from personalization.core.schema import EVENT_CODE, VIEW
from personalization.features import visible
from personalization.recommendations import InteractionHistory, from_events, from_items
from personalization.recommendations.serving_catalog import ServingCatalog


@dataclass(frozen=True)
class UserHistory:
    """history          of one user
    timed            whether it holds real times
    degraded_reason  why it is not what it should be
    """

    history: InteractionHistory
    timed: bool
    degraded_reason: str = ""
    warnings: list[str] = field(default_factory=list)


def load_history(services: Services, here: ServingCatalog, request: BaseRequest, now_ms: int) -> UserHistory:
    """Read what is known of the one who is asked for; ids that nobody knows are left out, and said."""
    recommender = here.recommender
    degraded_reason, timed, warnings = "", False, []
    if request.history is not None:
        codes, unknown = here.codes(request.history)
        if unknown:
            warnings.append(f"{len(unknown)} of {len(request.history)} items of the history are not known and were skipped")
        history = from_items([codes], recommender.pace, recommender.window.max_events)
    elif request.user_id is None or request.personalization == "off":
        history = from_items([[]], recommender.pace, 1)
    else:
        try:
            events = visible(services.state.read(request.user_id).events, now_ms)
            code_of = here.code_of_item
            known = np.array([code_of.get(item, -1) for item in events.items], np.int32)
            skipped = int((known < 0).sum())
            if skipped:
                warnings.append(f"{skipped} items of the user's history are not known and were skipped")
            history, timed = from_events(events, known, now_ms, recommender.window), True
        except StateUnavailable as error:
            history = from_items([[]], recommender.pace, 1)
            degraded_reason = f"answered as for somebody new: {error.detail}"
    context = request.context
    now, unknown = here.codes([*context.cart, *([context.item_id] if context.item_id else [])])
    if unknown:
        warnings.append(f"{len(unknown)} items of the context are not known and were skipped")
    return UserHistory(_with_now(history, now) if now else history, timed, degraded_reason, warnings)


def _with_now(history: InteractionHistory, codes: Sequence[int]) -> InteractionHistory:
    """With items that are looked at now: a basket of its own, the newest. They were not bought."""
    count = len(codes)
    return replace(
        history,
        item=np.append(history.item, np.array(codes, np.int32)).astype(np.int32),
        offsets=history.offsets + np.array([0, count]),
        basket=np.append(history.basket + 1, np.zeros(count, np.int32)).astype(np.int32),
        age=np.append(history.age, np.zeros(count, np.float32)).astype(np.float32),
        event=np.append(history.event, np.full(count, EVENT_CODE[VIEW], np.int8)).astype(np.int8),
    )
