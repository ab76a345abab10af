"""Three rows of the data, explained: what the model makes of somebody unlikely, somebody usual, somebody likely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.tabular.explanation import Explainer
from training.background import spaced_rows
from training.report.page import Cell, section, table

SHARES: Final = (0.1, 0.5, 0.95)  # where the rows stand in the order of their probabilities
_ASKED: Final = 2_048
_ROUNDS: Final = 4
_SHOWN: Final = 6  # columns of each row


def explained_rows(bundle: Bundle, inputs: Mapping[str, NDArray[Any]]) -> str:
    """A section of the report; empty where there is nothing to explain, or nothing to explain it against.

    inputs   encoded rows that were not trained on, by input name; ids are not among a model's columns
    """
    rows = len(next(iter(inputs.values()))) if inputs else 0
    explainer = Explainer.of(bundle, rounds=_ROUNDS) if rows else None
    if explainer is None:
        return ""
    asked = spaced_rows(inputs, _ASKED)
    probability = np.asarray(explainer.probability(bundle.run(asked)), np.float64).reshape(-1)
    order = np.argsort(probability, kind="stable")
    parts = []
    for share in SHARES:
        row = int(order[round(share * (len(order) - 1))])
        found = explainer.told(asked, row)
        lines: list[list[Cell]] = [
            [c["name"], "–" if c["value"] is None else str(c["value"]), f"{c['contribution']:+.3f} ± {c['standard_error']:.3f}"]
            for c in found["contributions"][:_SHOWN]
        ]
        shown = sum(c["contribution"] for c in found["contributions"][:_SHOWN])
        lines.append(["all others", "", f"{found['logit'] - found['base'] - shown:+.3f}"])
        words = f"Probability {probability[row]:.1%}, above {share:.0%} of the rows: logit {found['logit']:.3f}, "
        words += f"everybody's mean {found['base']:.3f}."
        parts.append(f"<p>{words}</p>" + table(["column", "value", "moves the logit by"], lines))
    note = f"Why the model says what it says ({explainer.target}): Shapley values against rows that stand for everybody."
    return section("Three rows, explained", "".join(parts), note)
