"""The check before a bundle is published: it has to beat its baselines on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from personalization.core.errors import InvalidInput

METRIC: Final = "ndcg_at_10"
_MIN_USERS: Final = 200  # with fewer, a shortfall within one standard error is not refused


def assert_beats_baselines(manifest: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` for recommendations that do not beat each of their baselines on validation (NDCG@10).

    A bundle of constants, and one without validation users, pass: bundle.json states both.
    """
    own = (manifest.get("metrics") or {}).get("validation") or {}
    baselines = {name: scores for name, scores in (manifest.get("baselines_validation") or {}).items() if scores}
    if manifest.get("model") == "base-rate" or METRIC not in own or not baselines:
        return
    name, best = max(((name, float(scores[METRIC])) for name, scores in baselines.items()), key=lambda entry: entry[1])
    value, users = float(own[METRIC]), int(own.get("users", 0))
    # A mean of n numbers between 0 and 1 that is v has a standard error of at most √(v (1 − v) / n).
    allowed = math.sqrt(best * (1 - best) / users) if 0 < users < _MIN_USERS else 0.0
    if value > best or (allowed and value >= best - allowed):
        return
    raise InvalidInput(
        f"expected a validation NDCG@10 above that of every baseline, received {value:.4f}; {name} has {best:.4f}. "
        "Train with more data or with --tune N, or publish with --force"
    )
