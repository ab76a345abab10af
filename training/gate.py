"""What a bundle has to show before it is published: that it is worth more than the simple methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from personalization.core.errors import InvalidInput

MEASURE: Final = "ndcg_at_10"
_MANY: Final = 200  # users; with fewer, a shortfall that chance explains is no reason to refuse


def assert_beats_baselines(manifest: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` for recommendations that do not beat each of their baselines on validation (NDCG@10).

    A bundle that is a baseline itself, and one that nothing could be validated for, pass: both say so in bundle.json.
    """
    mine = (manifest.get("metrics") or {}).get("validation") or {}
    rivals = {name: scores for name, scores in (manifest.get("baselines_validation") or {}).items() if scores}
    if manifest.get("model") == "base-rate" or MEASURE not in mine or not rivals:
        return
    name, best = max(((name, float(scores[MEASURE])) for name, scores in rivals.items()), key=lambda entry: entry[1])
    value, users = float(mine[MEASURE]), int(mine.get("users", 0))
    # A mean of n numbers between 0 and 1 that is v has a standard error of at most √(v (1 − v) / n).
    allowed = math.sqrt(best * (1 - best) / users) if 0 < users < _MANY else 0.0
    if value > best or (allowed and value >= best - allowed):
        return
    raise InvalidInput(
        f"expected a validation NDCG@10 above that of every simple method, received {value:.4f} where {name} has {best:.4f}; "
        "train with more data or --tune N, or publish it all the same with --force"
    )
