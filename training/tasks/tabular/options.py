"""What the user of `train JOB --table` asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from training.fitting import FitOptions
from training.networks.tabular import TabularConfig

BASE_RATE: Final = "base-rate"
TABULAR: Final = "tabular"


@dataclass(frozen=True)
class TableOptions:
    """The data.

    table, valid, test   files; without `valid` and `test` rows of `table` are split off
    label                its column; `positive` the word that counts as 1, where that is not plain
    mapping              our name → their column
    no_test              nothing is held out for test
    timezone             of dates without an offset
    """

    table: Path
    label: str
    valid: Path | None = None
    test: Path | None = None
    no_test: bool = False
    positive: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    seed: int = 0

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.table, self.valid, self.test) if path is not None]


@dataclass(frozen=True)
class TrainOptions:
    """The model.

    job      profiles | recommendations | ads
    out      directory of the bundle
    model    ``tabular``, or ``base-rate`` for a constant
    folds    of a cross-validation, 0 for none
    tune     tries of the network's settings, 0 for none
    refit    also train one on every row, in `out`/refit
    groups   columns whose groups are judged one by one; those of few words where none is named
    """

    job: str
    out: Path
    model: str = TABULAR
    folds: int = 0
    tune: int = 0
    refit: bool = False
    groups: Sequence[str] = ()
    config: TabularConfig = field(default_factory=TabularConfig)
    fit: FitOptions = field(default_factory=FitOptions)
