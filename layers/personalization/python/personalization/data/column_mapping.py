"""Our names for the columns of a file: by its header, by the aliases of `core.schema`, and by the shop's own mapping."""

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
class ColumnMapping:
    """Gives our names to the columns of a file.

    canonical   apply our spelling and the aliases of `core.schema` (interactions and the like); a flat table keeps its names
    mapping     our name → the shop's column, or → ``=constant``
    """

    canonical: bool = True
    mapping: Mapping[str, str] = field(default_factory=dict)

    @property
    def constants(self) -> dict[str, str]:
        """Our name → the value of every row."""
        return {self._canonical(name): value[1:] for name, value in self.mapping.items() if value.startswith(CONSTANT)}

    def resolve(self, header: Sequence[str]) -> dict[str, int]:
        """Our name → index into `header`, in its order, constants not included. Unnamed columns are left out.

        The mapping wins over the header, and our exact name over an alias. Raises `InvalidInput` for a column that occurs
        twice, for two columns of one meaning, and for a mapping to a column that does not exist.
        """
        names = [name.strip() for name in header]
        if twice := [name for n, name in enumerate(names) if name and name in names[:n]]:
            raise InvalidInput(f"the header names the column {twice[0]!r} twice")
        taken = self._resolve_mapping(names)
        mapped = set(taken.values())
        rest = [(index, name) for index, name in enumerate(names) if name and index not in mapped]
        reserved = self.constants.keys() | taken.keys()
        if not self.canonical:
            taken |= {name: index for index, name in rest if name not in reserved}
            return dict(sorted(taken.items(), key=itemgetter(1)))
        spelled: dict[str, str] = {}
        for index, name in rest:
            ours = snake_case(name)
            if ours in ALIASES or ours in reserved:
                continue
            if ours in spelled:
                raise InvalidInput(f"columns {spelled[ours]!r} and {name!r} are both {ours}; rename one, or map it")
            taken[ours], spelled[ours] = index, name
        exact = taken.keys() | reserved
        for index, name in rest:
            alias = snake_case(name)
            if alias not in ALIASES or alias in reserved:
                continue
            ours = alias if ALIASES[alias] in exact else ALIASES[alias]  # `sku` beside `item_id` is a column of its own
            if ours in spelled:
                raise InvalidInput(f"columns {spelled[ours]!r} and {name!r} both mean {ours}; choose one by a mapping")
            taken[ours], spelled[ours] = index, name
        return dict(sorted(taken.items(), key=itemgetter(1)))

    def name_late_key(self, key: str, taken: Collection[str]) -> str | None:
        """Our name of a key that JSON Lines have only after their first lines; `None` where that name is taken already."""
        names = [canonical_column(key), snake_case(key)] if self.canonical else [key.strip()]
        return next((ours for ours in names if ours and ours not in taken), None)

    def _resolve_mapping(self, names: Sequence[str]) -> dict[str, int]:
        taken: dict[str, int] = {}
        spellings = [snake_case(name) for name in names]
        for name, column in self.mapping.items():
            if column.startswith(CONSTANT):
                continue
            if column.strip() in names:
                taken[self._canonical(name)] = names.index(column.strip())
            elif spellings.count(snake_case(column)) == 1:
                taken[self._canonical(name)] = spellings.index(snake_case(column))
            else:
                raise InvalidInput(f"the mapping takes {name} from a column {column!r}, which the file does not have")
        return taken

    def _canonical(self, name: str) -> str:
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
