"""Predicted rates of ads: P(click), P(conversion) and the effect of showing an ad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core.encoder import TableColumns
from personalization.core.errors import BundleInvalid, RowFault

CLICK: Final = "click"
CONVERSION: Final = "conversion"
UNTREATED: Final = "untreated"

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PredictedRates:
    """Predictions for N candidates; NaN where the model has no such output.

    click        (N,) P(click | seen)
    conversion   (N,) P(conversion | seen); by way of a click where the model predicts clicks
    effect       (N,) P(conversion | shown) − P(conversion | not shown), `None` without a model of untreated users
    """

    click: Numbers
    conversion: Numbers
    effect: Numbers | None = None

    @property
    def conversion_given_click(self) -> Numbers:
        """(N,) P(conversion | click)."""
        rate = np.full(len(self.conversion), np.nan)
        np.divide(self.conversion, self.click, out=rate, where=self.click > 0)
        return rate

    @property
    def primary(self) -> Numbers:
        """(N,) P(click | seen), or P(conversion | seen) of a model without clicks."""
        return self.conversion if np.isnan(self.click).all() else self.click

    def by_name(self) -> Mapping[str, Numbers]:
        """The rates that the model predicts, by their names in responses and results; the primary one first."""
        named = {
            "pctr": self.click,
            "pcvr": self.conversion_given_click,
            "pconversion": self.conversion,
            "effect": self.effect,
        }
        return {name: values for name, values in named.items() if values is not None and not np.isnan(values).all()}


def tasks_of(bundle: Bundle) -> tuple[str, ...]:
    """The bundle's outputs: click, conversion, untreated, or some of them."""
    return tuple(bundle.manifest.get("tasks", ()))


def predicts_effect(bundle: Bundle) -> bool:
    """Whether the bundle predicts what showing an ad changes."""
    return UNTREATED in tasks_of(bundle)


def predict_rates(bundle: Bundle, columns: TableColumns, rows: int) -> tuple[PredictedRates, list[RowFault]]:
    """Predicted rates of N rows, and the cells that were not valid and counted as missing.

    columns   (N,) each, see `features`; other columns are ignored, those that are not there count as missing

    Raises `BundleInvalid` where the graph returns something else than probabilities.
    """
    encoded = bundle.encoder.encode(columns, rows)
    if encoded.inputs:
        outputs = {name: values.astype(np.float64) for name, values in bundle.run(encoded.inputs).items()}
    else:  # training dropped every column: there are only base rates
        outputs = {name: np.full(rows, float(rate)) for name, rate in bundle.manifest["fallback"].items()}
    for name, values in outputs.items():
        if not (np.isfinite(values) & (values >= 0) & (values <= 1)).all():
            raise BundleInvalid(f"expected probabilities in the graph's output {name!r}, received other numbers")
    missing = np.full(rows, np.nan)
    click, conversion = outputs.get(CLICK, missing), outputs.get(CONVERSION, missing)
    if CLICK in outputs:
        conversion = click * conversion
    effect = conversion - outputs[UNTREATED] if UNTREATED in outputs else None
    return PredictedRates(click, conversion, effect), encoded.bad_cells
