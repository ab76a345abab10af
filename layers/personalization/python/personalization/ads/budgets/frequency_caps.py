"""How often a user saw an ad: one item a day beside the user's other state, so that it is erased with it.

pk                       sk                        holds
user#<id>, session#<id>  frequency#<days, 5 digits>  ad#<ad id>: impressions; decisions: those that are counted
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from personalization.ads.budgets.accounts import CappedUser
from personalization.ads.budgets.counters import CounterTable, Update, number
from personalization.core.time import DAY_MS

AD: Final = "ad#"
MARK: Final = 16  # characters of a decision's id that tell it from the others that one user had on one day


@dataclass(frozen=True)
class FrequencyCaps:
    """days   the current one included, over which impressions count"""

    table: CounterTable
    days: int = 7

    def shown(self, partition: str, now_ms: int) -> dict[str, int]:
        """Impressions of each ad within the window."""
        return dict(self._shown(partition, now_ms - (self.days - 1) * DAY_MS, now_ms))

    def count(self, decision_id: str, viewer: CappedUser, ads: Sequence[str], now_ms: int) -> tuple[str, ...] | None:
        """Count one impression of each ad; the ads whose cap does not allow it (then nothing is counted), `None` if counted.

        A decision that was counted before is not counted again.
        """
        capped = [ad for ad in ads if ad in viewer.caps]
        earlier: Counter[str] = Counter()
        if capped and self.days > 1:
            earlier = self._shown(viewer.partition, now_ms - (self.days - 1) * DAY_MS, now_ms - DAY_MS)
        left = {ad: viewer.caps[ad] - earlier[ad] for ad in capped}
        if any(count <= 0 for count in left.values()):
            return tuple(ad for ad in capped if left[ad] <= 0)
        names = {f"#a{i}": f"{AD}{ad}" for i, ad in enumerate(ads)}
        values: dict[str, int | str | bytes | frozenset[str]] = {
            ":one": 1,
            ":zero": 0,
            ":mark": decision_id[:MARK],
            ":marks": frozenset({decision_id[:MARK]}),
            ":e": now_ms // 1000 + (self.days + 1) * DAY_MS // 1000,
        }
        conditions = ["NOT contains(decisions, :mark)"]
        for i, ad in enumerate(ads):
            if ad in left:
                values[f":l{i}"] = left[ad]
                conditions.append(f"(attribute_not_exists(#a{i}) OR #a{i} < :l{i})")
        sets = ", ".join(f"{name} = if_not_exists({name}, :zero) + :one" for name in names)
        update = Update(
            viewer.partition,
            _sk(now_ms),
            f"SET {sets}, expires_at = :e ADD decisions :marks",
            " AND ".join(conditions),
            values,
            names,
        )
        done = self.table.update(update)
        if done.held or decision_id[:MARK] in done.item.get("decisions", {}).get("SS", []):
            return None
        return tuple(ad for ad in capped if number(done.item, f"{AD}{ad}") >= left[ad])

    def _shown(self, partition: str, first_ms: int, last_ms: int) -> Counter[str]:
        out: Counter[str] = Counter()
        for item in self.table.between(partition, _sk(first_ms), _sk(last_ms)):
            for name in item:
                if name.startswith(AD):
                    out[name[len(AD) :]] += number(item, name)
        return out


def _sk(moment_ms: int) -> str:
    return f"frequency#{moment_ms // DAY_MS:05d}"
