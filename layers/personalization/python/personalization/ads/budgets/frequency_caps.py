"""Impressions per ad and user for frequency caps: one item a day beside the user's other state, so that it is erased with it.

pk                       sk                          attributes
user#<id>, session#<id>  frequency#<days, 5 digits>  ad#<ad id>: impressions; decisions: ids that are counted
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from personalization.ads.budgets.accounts import CappedUser
from personalization.core.time import DAY_MS
from personalization.state.dynamodb import StateTable, Update, Value, number

_AD: Final = "ad#"
_DECISION_CHARACTERS: Final = 16  # of a decision's id; enough to distinguish a user's decisions of one day


@dataclass(frozen=True)
class FrequencyCaps:
    """days   length of the frequency window, the current day included"""

    table: StateTable
    days: int = 7

    def impressions(self, partition: str, now_ms: int) -> dict[str, int]:
        """Impressions of each ad within the window."""
        return dict(self._impressions_between(partition, now_ms - (self.days - 1) * DAY_MS, now_ms))

    def count(self, decision_id: str, user: CappedUser, ads: Sequence[str], now_ms: int) -> tuple[str, ...]:
        """Count one impression of each ad, once per decision.

        Returns the ads whose cap does not allow it; nothing is counted then. Empty: all are counted, now or earlier.
        """
        capped = [ad for ad in ads if ad in user.caps]
        earlier: Counter[str] = Counter()
        if capped and self.days > 1:
            earlier = self._impressions_between(user.partition, now_ms - (self.days - 1) * DAY_MS, now_ms - DAY_MS)
        left = {ad: user.caps[ad] - earlier[ad] for ad in capped}
        if any(count <= 0 for count in left.values()):
            return tuple(ad for ad in capped if left[ad] <= 0)
        decision = decision_id[:_DECISION_CHARACTERS]
        names = {f"#a{i}": f"{_AD}{ad}" for i, ad in enumerate(ads)}
        values: dict[str, Value] = {
            ":one": 1,
            ":zero": 0,
            ":decision": decision,
            ":decisions": frozenset({decision}),
            ":e": (now_ms + (self.days + 1) * DAY_MS) // 1000,
        }
        conditions = ["NOT contains(decisions, :decision)"]
        for i, ad in enumerate(ads):
            if ad in left:
                values[f":l{i}"] = left[ad]
                conditions.append(f"(attribute_not_exists(#a{i}) OR #a{i} < :l{i})")
        sets = ", ".join(f"{name} = if_not_exists({name}, :zero) + :one" for name in names)
        expression = f"SET {sets}, expires_at = :e ADD decisions :decisions"
        done = self.table.update(Update(user.partition, _sort_key(now_ms), expression, " AND ".join(conditions), values, names))
        if done.held or decision in done.item.get("decisions", {}).get("SS", []):
            return ()
        return tuple(ad for ad in capped if number(done.item, f"{_AD}{ad}") >= left[ad])

    def _impressions_between(self, partition: str, first_ms: int, last_ms: int) -> Counter[str]:
        impressions: Counter[str] = Counter()
        for item in self.table.query(partition, (_sort_key(first_ms), _sort_key(last_ms))):
            for name in item:
                if name.startswith(_AD):
                    impressions[name.removeprefix(_AD)] += number(item, name)
        return impressions


def _sort_key(moment_ms: int) -> str:
    return f"frequency#{moment_ms // DAY_MS:05d}"
