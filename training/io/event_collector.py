"""Events of many chunks and files put together, at about the memory of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import EVENT_COLUMNS, Events, Interner, empty_events
from personalization.data import ParsedEvents
from personalization.data.interactions import basket_codes

# Column of codes → the list of words that it points to.
_WORDS: Final = {"user": "users", "item": "items", "category": "categories", "channel": "channels"}
_NO_ORDER: Final = -1


class EventCollector:
    """Takes parsed chunks one by one; `finish` answers them as one `Events`.

    user_ids   the shop's other ids of a user → the one that counts
    """

    def __init__(self, user_ids: Mapping[str, str] | None = None) -> None:
        self._user_ids = user_ids or {}
        self._interners = {column: Interner() for column in _WORDS}
        self._pieces: dict[str, list[NDArray[Any]]] = {name: [] for name in EVENT_COLUMNS}
        self._identified: list[NDArray[np.bool_]] = []
        self.renamed: set[str] = set()  # other ids that were met

    def add(self, parsed: ParsedEvents) -> None:
        events = parsed.events
        for column, words_name in _WORDS.items():
            words: Sequence[str] = getattr(events, words_name)
            if column == "user" and self._user_ids:
                self.renamed.update(word for word in words if word in self._user_ids)
                words = [self._user_ids.get(word, word) for word in words]
            recode = np.append(self._interners[column].codes(words), np.int32(-1))
            self._pieces[column].append(recode[getattr(events, column)])  # code −1 picks the appended −1
        for name in EVENT_COLUMNS:
            if name not in _WORDS and name != "order":
                self._pieces[name].append(getattr(events, name))
        # An order may go on in the next chunk: its id's hash finds it there (64 bits, the same within this process).
        hashes = [_NO_ORDER if order is None else hash(order) >> 1 for order in parsed.order_ids]
        self._pieces["order"].append(np.array(hashes, dtype=np.int64))
        self._identified.append(np.fromiter((i is not None for i in parsed.event_ids), dtype=bool, count=len(events)))

    def finish(self) -> tuple[Events, NDArray[np.bool_]]:
        """All events in the order they came, and (N,) which of them have an `event_id`. The collector is empty afterwards."""
        columns: dict[str, NDArray[Any]] = {}
        template = empty_events()
        for name in EVENT_COLUMNS:
            pieces = self._pieces.pop(name)  # one column at a time: pieces and result never stand there for all of them
            columns[name] = np.concatenate(pieces) if pieces else getattr(template, name)
        hashes = columns["order"]
        order = np.full(len(hashes), _NO_ORDER, dtype=np.int32)
        known = hashes != _NO_ORDER
        order[known] = np.unique(hashes[known], return_inverse=True)[1]
        columns["order"] = basket_codes(columns["user"], order, columns["timestamp"])
        words = {words_name: self._interners[column].words for column, words_name in _WORDS.items()}
        identified = np.concatenate(self._identified) if self._identified else np.zeros(0, dtype=bool)
        fields: dict[str, Any] = {**columns, **words}
        return Events(**fields), identified
