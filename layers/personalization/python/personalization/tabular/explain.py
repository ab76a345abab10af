"""Explanations in responses: which columns raise a row's probability, which lower it, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.encoder import DATE_PARTS, MISSING_CODE, NUMERIC, UNKNOWN_CODE, Column, TableColumns, TableEncoder
from personalization.core.schema import INTERACTIONS
from personalization.features import FEATURES, TEXT_FEATURES
from personalization.tabular.shapley import Inputs, ShapleyValues, shapley_values

TOP: Final = 10
MAX_ROUNDS: Final = 32  # of 64 orders each: more rounds change no digit that a response shows
_DIGITS: Final = 6

Probability = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains predictions of one bundle.

    background       encoded rows that stand for all users, by input name
    target           description of the explained event, such as ``buys within 14 days``
    probability      selects the explained number: outputs by name → (N,)
    names            column → readable name
    rounds           at most, see `shapley_values`
    budget_seconds   for one row; the first round always runs
    """

    bundle: Bundle
    background: Inputs
    target: str
    probability: Probability
    names: Callable[[str], str]
    rounds: int = MAX_ROUNDS
    budget_seconds: float | None = None

    @classmethod
    def for_bundle(cls, bundle: Bundle, *, rounds: int = MAX_ROUNDS, budget_seconds: float | None = None) -> Explainer | None:
        """Explainer of the headline probability; `None` where the bundle has no background rows."""
        background = bundle.background
        if not background:
            return None
        names = _feature_name if bundle.kind == INTERACTIONS.kind else _column_name
        return cls(bundle, background, *headline_probability(bundle), names, rounds, budget_seconds)

    def explain(self, inputs: Inputs, row: int, columns: TableColumns | None = None) -> dict[str, Any]:
        """Explanation of one encoded row, as a JSON object of a response.

        columns   the cells that were encoded; without them hashed and new words are not shown, as the tensors lack them
        """
        one = {name: values[row : row + 1] for name, values in inputs.items()}
        budget = self.budget_seconds
        values = shapley_values(self.bundle, one, self.background, self.probability, rounds=self.rounds, budget_seconds=budget)
        sent = {name: content[row] for name, content in (columns or {}).items()}
        return {"target": self.target} | _to_response(values, self.names, _cell_values(self.bundle.encoder, one, sent))


def headline_probability(bundle: Bundle) -> tuple[str, Probability]:
    """The description of a bundle's first probability, and the function that selects it from the graph's outputs."""
    manifest = bundle.manifest
    if bundle.kind == INTERACTIONS.kind:
        place = manifest["hazard_days"].index(manifest["horizon"])
        return f"buys within {manifest['horizon']} days", lambda outputs: outputs["probability_within"][:, place]
    label = manifest.get("label")
    words = f"{label['column']} is {label['positive']}" if label else "probability"
    return words, lambda outputs: outputs["probability"].reshape(-1)


def _feature_name(name: str) -> str:
    """Readable name of a feature of the history, or of an attribute of the user."""
    return FEATURES.get(name) or TEXT_FEATURES.get(name) or _column_name(name.removeprefix("user."))


def _column_name(name: str) -> str:
    return name.replace("_", " ")


def _to_response(shapley: ShapleyValues, names: Callable[[str], str], cell_values: Mapping[str, Any]) -> dict[str, Any]:
    order = sorted(range(len(shapley.names)), key=lambda i: -abs(shapley.contributions[i]))
    # A contribution that rounds to zero has no direction, and remains among the others.
    top = [i for i in order[:TOP] if round(float(shapley.contributions[i]), _DIGITS)]
    rest = math.fsum(shapley.contributions[i] for i in order if i not in set(top))
    return {
        "base": round(shapley.base, _DIGITS),
        "logit": round(shapley.logit, _DIGITS),
        "contributions": [
            {
                "feature": shapley.names[i],
                "name": names(shapley.names[i]),
                "value": cell_values[shapley.names[i]],
                "contribution": round(float(shapley.contributions[i]), _DIGITS),
                "standard_error": _finite(shapley.standard_error[i]),
                "direction": "raises" if shapley.contributions[i] > 0 else "lowers",
            }
            for i in top
        ],
        "others": round(rest, _DIGITS),
        "rows": shapley.rows,
    }


def _cell_values(encoder: TableEncoder, one: Inputs, sent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The cell of each column of one encoded row: a number, a word, or a day and hour; `None` where missing.

    sent   cells by column name; words are taken from here, as a tensor lacks words that training did not list
    """
    values: dict[str, Any] = {}
    n = m = 0
    for column in encoder.columns:
        if column.kind == NUMERIC:
            values[column.name] = _finite(one["numeric"][0, n])
            n += 1
        elif column.kind == "date":
            values[column.name] = _date_and_hour(one["numeric"][0, n : n + len(DATE_PARTS)])
            n += len(DATE_PARTS)
        else:
            word = cells.word((sent or {}).get(column.name))
            values[column.name] = _word(column, int(one["categorical"][0, m])) if word is None else word
            m += 1
    return values


def _word(column: Column, code: int) -> str | None:
    if code == MISSING_CODE:
        return None
    if column.kind == "hashed":
        return "(a hashed word)"
    return "(a new word)" if code == UNKNOWN_CODE else column.vocabulary[code - UNKNOWN_CODE - 1]


def _date_and_hour(parts: NDArray[Any]) -> str | None:
    """Text of a date's parts in the shop's time zone, to the hour, as the network receives it."""
    days, hour = float(parts[0]), float(parts[-1])
    if math.isnan(days):
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=round(days), hours=round(hour))
    return moment.strftime("%Y-%m-%dT%H:00")


def _finite(value: float) -> float | None:
    number = float(value)
    return round(number, _DIGITS) if math.isfinite(number) else None
