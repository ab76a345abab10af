"""Why an ad's chance is what it is: what each column adds to the logit of its first task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization import features
from personalization.advertising.describing import BETWEEN, CONTEXT
from personalization.advertising.scoring import tasks_of
from personalization.bundle import Bundle
from personalization.explanations import explain

TOLD: Final = 10  # contributions in an answer; the others are summed up
BUDGET_SECONDS: Final = 0.25  # for one ad
_READABLE: Final = {**features.FEATURES, **features.TEXT_FEATURES, **CONTEXT, **BETWEEN}


def explained(bundle: Bundle, columns: Mapping[str, Any], rows: Sequence[int], seed: int) -> dict[int, dict[str, Any]]:
    """Contributions for these of the described rows, the largest first, each with its standard error; empty where the bundle
    has no background rows.

    ``base`` is the mean logit of the background, and base + all contributions (``others`` included) is the ad's logit.
    """
    background = bundle.background
    if background is None or not bundle.encoder.columns:
        return {}
    task = tasks_of(bundle)[0]

    def probability(outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return outputs[task]

    told: dict[int, dict[str, Any]] = {}
    for row in rows:
        encoded = bundle.encoder.encode({name: [content[row]] for name, content in columns.items()}, 1)
        found = explain(bundle, encoded.inputs, background, probability, seed=seed, budget_seconds=BUDGET_SECONDS)
        order = np.argsort(-np.abs(found.contributions), kind="stable")
        told[row] = {
            "of": task,
            "base": round(found.base, 6),
            "logit": round(found.logit, 6),
            "contributions": [
                {
                    "column": found.names[place],
                    "means": _READABLE.get(found.names[place], found.names[place]),
                    "contribution": round(float(found.contributions[place]), 6),
                    "standard_error": round(float(found.standard_error[place]), 6),
                }
                for place in order[:TOLD]
            ],
            "others": round(float(found.contributions[order[TOLD:]].sum()), 6),
        }
    return told
