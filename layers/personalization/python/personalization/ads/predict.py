"""What a bundle says of described rows, and what a plan may ask it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from personalization.ads.valuation import PredictedRates
from personalization.bundles.bundle import Bundle
from personalization.core.encoder import TableColumns
from personalization.core.errors import BundleInvalid, RowFault

CLICK: Final = "click"
CONVERSION: Final = "conversion"
UNTREATED: Final = "untreated"


def tasks_of(bundle: Bundle) -> tuple[str, ...]:
    """What the bundle answers: click, conversion, untreated, or some of them."""
    return tuple(bundle.manifest.get("tasks", ()))


def chances_of(bundle: Bundle, columns: TableColumns, rows: int) -> tuple[PredictedRates, list[RowFault]]:
    """P(click), P(conversion) and the ad's effect for described rows, and the cells that counted as missing because they
    were bad.

    columns   see `describing`; those that the bundle does not know are ignored, those that it knows and that are not there
              count as missing

    Raises `BundleInvalid` where the graph answers what is no probability.
    """
    encoded = bundle.encoder.encode(columns, rows)
    if encoded.inputs:
        found = {name: values.astype(np.float64) for name, values in bundle.run(encoded.inputs).items()}
    else:  # no column was worth anything: the base rates are all there is
        found = {name: np.full(rows, float(rate)) for name, rate in bundle.manifest["fallback"].items()}
    for name, values in found.items():
        if not (np.isfinite(values) & (values >= 0) & (values <= 1)).all():
            raise BundleInvalid(f"the graph's output {name!r} is no probability")
    unknown = np.full(rows, np.nan)
    click, conversion = found.get(CLICK, unknown), found.get(CONVERSION, unknown)
    both = click * conversion if CLICK in found else conversion
    effect = both - found[UNTREATED] if UNTREATED in found else None
    return PredictedRates(click, both, effect), encoded.bad_cells


def told(chances: PredictedRates) -> Mapping[str, Any]:
    """The chances by the names that answers have for them; those that the model knows."""
    named = {"pctr": chances.click, "pcvr": chances.conversion, "pconversion": chances.both, "effect": chances.effect}
    return {name: values for name, values in named.items() if values is not None and not np.isnan(values).all()}
