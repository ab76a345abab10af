"""Why an ad's chance is what it is: what each column adds to the logit of its first task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from personalization import features
from personalization.ads.features import CONTEXT, USER_AD_CROSS_FEATURES
from personalization.ads.predict import tasks_of
from personalization.bundles.bundle import Bundle
from personalization.tabular.explain import Explainer

BUDGET_SECONDS: Final = 0.25  # for one ad
_READABLE: Final = {**features.FEATURES, **features.TEXT_FEATURES, **CONTEXT, **USER_AD_CROSS_FEATURES}


def explained(bundle: Bundle, columns: Mapping[str, Any], rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Explanations of these of the described rows, by row; empty where the bundle has no background rows.

    ``target`` is the task, ``click`` or ``conversion``; for the rest see `Explainer.explain`.
    """
    background = bundle.background
    if not background:
        return {}
    task = tasks_of(bundle)[0]
    explainer = Explainer(
        bundle, background, task, lambda outputs: outputs[task], lambda name: _READABLE.get(name, name),
        budget_seconds=BUDGET_SECONDS,
    )  # fmt: skip
    chosen = {name: [content[row] for row in rows] for name, content in columns.items()}
    encoded = bundle.encoder.encode(chosen, len(rows)).inputs
    return {row: explainer.explain(encoded, place, chosen) for place, row in enumerate(rows)}
