"""Ad plans: expected values of one ad over a grid of hours, channels and creatives, and the best cells with their evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.ads.candidates import Candidates
from personalization.ads.features import AD_PREFIX, time_columns
from personalization.ads.predict import predict_rates
from personalization.ads.valuation import Objective, valuate
from personalization.bundles.bundle import Bundle
from personalization.core.time import format_timestamp

ROWS_PER_CHUNK: Final = 8_192
AXES: Final = ("hour", "channel", "creative")

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PlanGrid:
    """The cells of hours × channels × creatives, in that order; G cells.

    moments     milliseconds since 1970 UTC, one for each hour
    channels    words; one `None` where channels are not compared
    creatives   likewise
    zone        the shop's time zone, in which hours are written
    """

    moments: Sequence[int]
    channels: Sequence[str | None] = (None,)
    creatives: Sequence[str | None] = (None,)
    zone: tzinfo = UTC

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.moments), len(self.channels), len(self.creatives)

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    def cell(self, index: int) -> dict[str, str]:
        """Hour, channel and creative of a cell; without those that are not compared."""
        hour, channel, creative = (int(i) for i in np.unravel_index(index, self.shape))
        words = {"channel": self.channels[channel], "creative": self.creatives[creative]}
        return {"hour": format_timestamp(self.moments[hour], "minutes", self.zone)} | {
            name: word for name, word in words.items() if word is not None
        }


@dataclass(frozen=True)
class PlanValues:
    """Values of U users in G cells.

    expected   (G, U) expected value of an impression, in units of currency
    rates      by name (G,): means over the users
    """

    expected: Numbers
    rates: Mapping[str, Numbers]

    @property
    def mean(self) -> Numbers:
        """(G,) mean over the users."""
        mean: Numbers = self.expected.mean(axis=1)
        return mean


def evaluate_grid(
    bundle: Bundle, grid: PlanGrid, ad: Candidates, user_columns: Sequence[Mapping[str, Any]], objective: Objective
) -> PlanValues:
    """Value every cell for every user. A missing value counts as 0.

    ad             one candidate
    user_columns   one row of feature columns for each user and this ad; hour, weekday, channel and creative are replaced
    """
    hour, channel, creative = np.unravel_index(np.arange(len(grid)), grid.shape)
    time = time_columns(np.array(grid.moments, dtype=np.int64), grid.zone)
    names = list(dict.fromkeys(name for columns in user_columns for name in columns))
    table = {name: [columns[name][0] if name in columns else None for columns in user_columns] for name in names}
    users = len(user_columns)
    expected = np.empty((len(grid), users))
    rates: dict[str, Numbers] = {}
    step = max(1, ROWS_PER_CHUNK // max(users, 1))
    for start in range(0, len(grid), step):
        chunk = np.arange(start, min(start + step, len(grid)))
        cell = np.repeat(chunk, users)
        columns: dict[str, Any] = {name: content * len(chunk) for name, content in table.items()}
        columns |= {name: values[hour[cell]] for name, values in time.items()}
        columns["channel"] = [grid.channels[n] for n in channel[cell].tolist()]
        columns[AD_PREFIX + "creative"] = [grid.creatives[n] for n in creative[cell].tolist()]
        predicted, _ = predict_rates(bundle, columns, len(cell))
        expected[chunk] = np.nan_to_num(valuate(objective, ad, predicted).expected(1.0)).reshape(len(chunk), users)
        for name, values in predicted.by_name().items():
            rates.setdefault(name, np.empty(len(grid)))[chunk] = values.reshape(len(chunk), users).mean(axis=1)
    return PlanValues(expected, rates)


def best_cells(
    grid: PlanGrid, values: PlanValues, k: int, support: Mapping[str, Mapping[str, int]] | None = None
) -> list[dict[str, Any]]:
    """The `k` cells with the highest expected value, best first, each with its evidence. Equal cells keep the grid's order.

    support   by axis (`AXES`) and word (of hours: 0 … 23) the number of training impressions

    Evidence: the gain over the grid's mean; the gain of the cell's hour, channel and creative alone (mean of that row of the
    grid over the grid's mean); for several users the standard error of the expected value, and the share of users for whom
    the cell is at least as good as the grid's mean.
    """
    mean = values.mean
    overall = float(mean.mean())
    cube = mean.reshape(grid.shape)
    gains = [cube.mean(axis=tuple(other for other in range(3) if other != axis)) - overall for axis in range(3)]
    users = values.expected.shape[1]
    user_means = values.expected.mean(axis=0)
    best = []
    for index in np.argsort(-mean, kind="stable")[:k].tolist():
        place = np.unravel_index(index, grid.shape)
        evidence: dict[str, Any] = {"gain": _rounded(mean[index] - overall)}
        for axis, name in enumerate(AXES):
            if grid.shape[axis] > 1:
                evidence[f"{name}_gain"] = _rounded(gains[axis][place[axis]])
        if users > 1:
            evidence["standard_error"] = _rounded(values.expected[index].std(ddof=1) / np.sqrt(users))
            evidence["share_of_users"] = round(float((values.expected[index] >= user_means).mean()), 4)
        cell = grid.cell(index)
        impressions = _support_of(cell, support or {})
        if impressions:
            evidence["impressions"] = impressions
        rates = {name: round(float(rate[index]), 7) for name, rate in values.rates.items()}
        best.append({**cell, "expected_value": _rounded(mean[index]), **rates, "evidence": evidence})
    return best


def _support_of(cell: Mapping[str, str], support: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    words = {**cell, "hour": str(int(cell["hour"][11:13]))}
    return {name: int(support[name].get(words[name], 0)) for name in AXES if name in support and name in words}


def _rounded(value: Any) -> float:
    return round(float(value), 6)
