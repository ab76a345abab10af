"""An explanation as it leaves the house: which columns raise a row's probability, which lower it, by how much."""

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
from personalization.tabular.shapley import Explanation, Inputs, explain

TOP: Final = 10
MAX_ROUNDS: Final = 32  # of 64 orders each: noise is below what anybody reads, however large the budget
_DIGITS: Final = 6

Probability = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains rows of one bundle.

    target           what the probability is of, in words
    probability      which number of the graph's outputs: outputs by name → (N,)
    names            what a person reads for a column; a column that is not among them is read by its own name
    rounds           at most, see `explanations.explain`
    budget_seconds   for one row; the first round is always walked
    """

    bundle: Bundle
    background: Inputs
    target: str
    probability: Probability
    names: Callable[[str], str]
    rounds: int = MAX_ROUNDS
    budget_seconds: float | None = None

    @classmethod
    def of(cls, bundle: Bundle, *, rounds: int = MAX_ROUNDS, budget_seconds: float | None = None) -> Explainer | None:
        """Of a bundle's headline probability; `None` where the bundle holds nothing to explain it against."""
        background = bundle.background
        if not background:
            return None
        names = _of_feature if bundle.kind == INTERACTIONS.kind else _of_column
        return cls(bundle, background, *headline(bundle), names, rounds, budget_seconds)

    def told(self, inputs: Inputs, row: int, columns: TableColumns | None = None) -> dict[str, Any]:
        """The explanation of one of the encoded rows.

        columns   the cells that were encoded; what the tensors do not hold (hashed and new words) is not told without them
        """
        one = {name: values[row : row + 1] for name, values in inputs.items()}
        budget = self.budget_seconds
        found = explain(self.bundle, one, self.background, self.probability, rounds=self.rounds, budget_seconds=budget)
        sent = {name: content[row] for name, content in (columns or {}).items()}
        return {"target": self.target} | _content(found, self.names, row_values(self.bundle.encoder, one, sent))


def headline(bundle: Bundle) -> tuple[str, Probability]:
    """What a bundle's first probability is of, in words, and how it is read from the graph's outputs."""
    manifest = bundle.manifest
    if bundle.kind == INTERACTIONS.kind:
        place = manifest["hazard_days"].index(manifest["horizon"])
        return f"buys within {manifest['horizon']} days", lambda outputs: outputs["probability_within"][:, place]
    label = manifest.get("label")
    words = f"{label['column']} is {label['positive']}" if label else "probability"
    return words, lambda outputs: outputs["probability"].reshape(-1)


def _of_feature(name: str) -> str:
    """What a person reads for a feature of the history, or for an attribute of the user."""
    return FEATURES.get(name) or TEXT_FEATURES.get(name) or _of_column(name.removeprefix("user."))


def _of_column(name: str) -> str:
    return name.replace("_", " ")


def _content(found: Explanation, names: Callable[[str], str], values: Mapping[str, Any]) -> dict[str, Any]:
    order = sorted(range(len(found.names)), key=lambda i: -abs(found.contributions[i]))
    # What is rounded away has no direction, and stays with the others.
    top = [i for i in order[:TOP] if round(float(found.contributions[i]), _DIGITS)]
    rest = math.fsum(found.contributions[i] for i in order if i not in set(top))
    return {
        "base": round(found.base, _DIGITS),
        "logit": round(found.logit, _DIGITS),
        "contributions": [
            {
                "feature": found.names[i],
                "name": names(found.names[i]),
                "value": values[found.names[i]],
                "contribution": round(float(found.contributions[i]), _DIGITS),
                "standard_error": _finite(found.standard_error[i]),
                "direction": "raises" if found.contributions[i] > 0 else "lowers",
            }
            for i in top
        ],
        "others": round(rest, _DIGITS),
        "rows": found.rows,
    }


def row_values(encoder: TableEncoder, one: Inputs, sent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What stands in each column of one encoded row: a number, a word, a day and hour; `None` where nothing does.

    sent   cells by column name, of which words are taken: a tensor knows no word that training did not list
    """
    values: dict[str, Any] = {}
    n = m = 0
    for column in encoder.columns:
        if column.kind == NUMERIC:
            values[column.name] = _finite(one["numeric"][0, n])
            n += 1
        elif column.kind == "date":
            values[column.name] = _moment(one["numeric"][0, n : n + len(DATE_PARTS)])
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


def _moment(parts: NDArray[Any]) -> str | None:
    """To the hour, in the shop's time zone; all that the network sees."""
    days, hour = float(parts[0]), float(parts[-1])
    if math.isnan(days):
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=round(days), hours=round(hour))
    return moment.strftime("%Y-%m-%dT%H:00")


def _finite(value: float) -> float | None:
    number = float(value)
    return round(number, _DIGITS) if math.isfinite(number) else None
