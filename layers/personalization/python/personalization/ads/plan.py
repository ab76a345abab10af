"""When, where and with which creative: the expected value of one ad over a grid, and the best of it with its evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from personalization.core.time import format_timestamp

Numbers = NDArray[np.float64]


class PlanQuery(NamedTuple):
    """Rows of a plan: a user in a cell of the grid; (N,) indices each."""

    user: NDArray[np.int64]
    hour: NDArray[np.int64]
    channel: NDArray[np.int64]
    creative: NDArray[np.int64]


# Rows → (N,) expected value of each, in money, and the chances behind it.
Score = Callable[[PlanQuery], tuple[Numbers, Mapping[str, Numbers]]]

ROWS_PER_CALL: Final = 8_192
AXES: Final = ("hour", "channel", "creative")


@dataclass(frozen=True)
class Grid:
    """The cells of hours × channels × creatives, in that order; G cells.

    moments     milliseconds since 1970 UTC, one for each hour that is asked about
    channels    words; one `None` where the question is not about channels
    creatives   likewise
    zone        the shop's time zone, in which hours are told
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

    def cell(self, index: int) -> dict[str, Any]:
        """What a cell stands for, in words."""
        hour, channel, creative = (int(i) for i in np.unravel_index(index, self.shape))
        words = {"channel": self.channels[channel], "creative": self.creatives[creative]}
        return {"hour": format_timestamp(self.moments[hour], "minutes", self.zone)} | {
            name: word for name, word in words.items() if word is not None
        }


@dataclass(frozen=True)
class Values:
    """What a model expects of U users in G cells.

    expected   (G, U) money
    chances    by name (G,): means over the users
    """

    expected: Numbers
    chances: Mapping[str, Numbers]

    @property
    def mean(self) -> Numbers:
        """(G,) expected value of a cell, over the users."""
        mean: Numbers = self.expected.mean(axis=1)
        return mean


def evaluate(grid: Grid, users: int, score: Score) -> Values:
    """Ask about every cell for every user."""
    hour, channel, creative = np.unravel_index(np.arange(len(grid)), grid.shape)
    expected = np.empty((len(grid), users))
    means: dict[str, Numbers] = {}
    step = max(1, ROWS_PER_CALL // max(users, 1))
    for start in range(0, len(grid), step):
        cells = np.arange(start, min(start + step, len(grid)))
        cell = np.repeat(cells, users)
        values, chances = score(PlanQuery(np.tile(np.arange(users), len(cells)), hour[cell], channel[cell], creative[cell]))
        expected[cells] = values.reshape(len(cells), users)
        for name, content in chances.items():
            means.setdefault(name, np.empty(len(grid)))[cells] = content.reshape(len(cells), users).mean(axis=1)
    return Values(expected, means)


def best_cells(
    grid: Grid, values: Values, k: int, support: Mapping[str, Mapping[str, int]] | None = None
) -> list[dict[str, Any]]:
    """The `k` cells with the highest expected value, best first, each with what speaks for it.

    support   by axis (`AXES`) and word (of hours: 0 … 23), how many impressions the model has learnt it from

    The evidence of a cell: its gain over the grid's mean; the gain of its hour, channel and creative alone (mean of that row of
    the grid over the grid's mean); for several users the standard error of the expected value, and the share of them for
    whom the cell is at least as good as the grid's mean. Equal cells keep the grid's order.
    """
    mean = values.mean
    overall = float(mean.mean())
    cube = mean.reshape(grid.shape)
    effects = [cube.mean(axis=tuple(other for other in range(3) if other != axis)) - overall for axis in range(3)]
    users = values.expected.shape[1]
    usual = values.expected.mean(axis=0)
    answers = []
    for index in np.argsort(-mean, kind="stable")[:k]:
        place = [int(i) for i in np.unravel_index(index, grid.shape)]
        evidence: dict[str, Any] = {"gain": _money(mean[index] - overall)}
        for axis, name in enumerate(AXES):
            if grid.shape[axis] > 1:
                evidence[f"{name}_gain"] = _money(effects[axis][place[axis]])
        if users > 1:
            deviation = values.expected[index].std(ddof=1) / np.sqrt(users)
            evidence["standard_error"] = _money(deviation)
            evidence["share_of_users"] = round(float((values.expected[index] >= usual).mean()), 4)
        cell = grid.cell(int(index))
        learnt = _support(cell, support or {})
        if learnt:
            evidence["impressions"] = learnt
        chances = {name: round(float(content[index]), 7) for name, content in values.chances.items()}
        answers.append(cell | {"expected_value": _money(mean[index])} | chances | {"evidence": evidence})
    return answers


def _support(cell: Mapping[str, Any], support: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    words = {"hour": str(int(str(cell["hour"])[11:13])), "channel": cell.get("channel"), "creative": cell.get("creative")}
    return {name: int(support[name].get(str(word), 0)) for name, word in words.items() if name in support and word is not None}


def _money(value: Any) -> float:
    return round(float(value), 6)
