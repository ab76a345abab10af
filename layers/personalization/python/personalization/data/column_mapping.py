"""Which column of a file is which of ours: header, aliases, and the shop's own mapping."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

import orjson

from personalization.core.errors import InvalidInput
from personalization.core.schema import ALIASES, canonical_column, snake_case

CONSTANT: Final = "="  # a mapping value that starts with it is a constant for every row


@dataclass(frozen=True)
class Naming:
    """How a file's columns are named inside the house.

    canonical   our own spelling and aliases (interactions and the like); else names stay as they are (flat tables)
    mapping     our name → their column, or → ``=constant``
    """

    canonical: bool = True
    mapping: Mapping[str, str] = field(default_factory=dict)

    @property
    def constants(self) -> dict[str, str]:
        """Our name → the value of every row."""
        return {self._ours(name): value[1:] for name, value in self.mapping.items() if value.startswith(CONSTANT)}

    def resolve(self, header: Sequence[str]) -> dict[str, int]:
        """Our name → index into `header`, in its order, constants not included. Unnamed columns are left out.

        The mapping wins over the header, and our exact name over an alias. Raises `InvalidInput` for a column named
        twice, two columns that mean the same, and a mapping to a column that is not there.
        """
        names = [name.strip() for name in header]
        _refuse_twice(names)
        taken = self._mapped(names)
        used = set(taken.values())
        reserved = self.constants.keys() | taken.keys()
        spelled: dict[str, str] = {}
        for index, name in enumerate(names):
            ours = snake_case(name) if self.canonical else name
            if index in used or not name or ours in reserved or (self.canonical and ours in ALIASES):
                continue
            if ours in spelled:
                raise InvalidInput(f"columns {spelled[ours]!r} and {name!r} are both {ours}; rename one, or map it")
            taken[ours] = index
            spelled[ours] = name
            used.add(index)
        if self.canonical:
            self._alias(names, taken, used, reserved)
        return dict(sorted(taken.items(), key=itemgetter(1)))

    def late(self, name: str, taken: Collection[str]) -> str | None:
        """Our name of a key that JSON Lines show after their first lines; `None` where that name is taken already."""
        names = [canonical_column(name), snake_case(name)] if self.canonical else [name.strip()]
        return next((ours for ours in names if ours and ours not in taken), None)

    def _alias(self, names: Sequence[str], taken: dict[str, int], used: set[int], reserved: set[str]) -> None:
        exact = taken.keys() | reserved
        spelled: dict[str, str] = {}
        for index, name in enumerate(names):
            alias = snake_case(name)
            if index in used or alias not in ALIASES or alias in reserved:
                continue
            ours = ALIASES[alias]
            if ours in exact:
                ours = alias  # a column of its own: `sku` beside `item_id`
            if ours in spelled:
                raise InvalidInput(f"columns {spelled[ours]!r} and {name!r} both mean {ours}; choose one by a mapping")
            taken[ours] = index
            spelled[ours] = name

    def _mapped(self, names: Sequence[str]) -> dict[str, int]:
        taken: dict[str, int] = {}
        spellings = [snake_case(name) for name in names]
        for name, theirs in self.mapping.items():
            if theirs.startswith(CONSTANT):
                continue
            if theirs.strip() in names:
                taken[self._ours(name)] = names.index(theirs.strip())
            elif spellings.count(snake_case(theirs)) == 1:
                taken[self._ours(name)] = spellings.index(snake_case(theirs))
            else:
                raise InvalidInput(f"the mapping takes {name} from a column {theirs!r}, which the file does not have")
        return taken

    def _ours(self, name: str) -> str:
        return canonical_column(name) if self.canonical else name


def parse_mapping(text: str | bytes) -> dict[str, str]:
    """A mapping as a JSON object, or as ``user_id=CustomerID,event_type==purchase``.

    Raises `InvalidInput` for anything else.

    >>> parse_mapping("user_id=CustomerID,event_type==purchase")
    {'user_id': 'CustomerID', 'event_type': '=purchase'}
    """
    raw = text.encode() if isinstance(text, str) else text
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        try:
            content: dict[str, str] = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"the mapping is not valid JSON: {error}") from None
        if not all(isinstance(value, str) for value in content.values()):
            raise InvalidInput('expected a mapping of our names to their columns, {"user_id": "CustomerID"}')
        return content
    pairs = [pair.partition("=") for pair in raw.decode(errors="replace").split(",") if pair.strip()]
    if not pairs or not all(name.strip() and value.strip() for name, _, value in pairs):
        raise InvalidInput('expected a mapping as "user_id=CustomerID,event_type==purchase" or as a JSON object')
    return {name.strip(): value.strip() for name, _, value in pairs}


def _refuse_twice(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise InvalidInput(f"the header names the column {name!r} twice")
        seen.add(name)
