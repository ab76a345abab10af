"""Which impressions teach, which validate and which judge: by time, with outcomes that were known by then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.time import DAY_MS
from training.tasks.ads.impressions import Impressions

_TEST: Final = 0.15
_VALIDATION: Final = 0.15


@dataclass(frozen=True)
class ImpressionSplit:
    """train, valid, test   (I,) masks; `test` is empty where nothing is held out
    immature    impressions whose outcome may still come
    between     older ones whose outcome was not known when the test begins
    by_user     the log has one moment only: other users validate and judge, not later ones
    """

    train: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    test: NDArray[np.bool_]
    immature: int
    between: int
    test_from: int | None
    by_user: bool = False


def split(log: Impressions, attribution_days: float, *, hold_out_test: bool = True, seed: int = 0) -> ImpressionSplit:
    """Test is the last `_TEST` of the mature impressions, validation the last `_VALIDATION` of those before it.

    An impression is mature when its attribution window lies within the log. What is learnt from was mature when the test
    begins, so no outcome of the test's time is looked at.
    """
    window = round(attribution_days * DAY_MS)
    mature = log.moment + window <= log.end
    if mature.sum() < 0.2 * len(log):  # a short log, or one of order only: there is nothing to wait for
        mature = np.ones(len(log), dtype=bool)
    moments = log.moment[mature]
    if len(np.unique(moments)) < 3:
        return _by_user(log, mature, hold_out_test, seed)
    test_from = int(np.quantile(moments, 1 - _TEST, method="nearest")) if hold_out_test else None
    test = mature & (log.moment >= test_from) if test_from is not None else np.zeros(len(log), dtype=bool)
    earlier = mature & ~test
    known = earlier if test_from is None else earlier & (log.moment + window <= test_from)
    if known.sum() < 0.3 * earlier.sum():
        known = earlier  # the window is as long as the log: better late outcomes than none
    valid_from = int(np.quantile(log.moment[known], 1 - _VALIDATION, method="nearest"))
    valid = known & (log.moment >= valid_from)
    train = known & ~valid
    if not train.any():
        return _by_user(log, mature, hold_out_test, seed)
    return ImpressionSplit(train, valid, test, int((~mature).sum()), int((earlier & ~known).sum()), test_from)


def _by_user(log: Impressions, mature: NDArray[np.bool_], hold_out_test: bool, seed: int) -> ImpressionSplit:
    draw = np.random.default_rng(seed).random(len(log.users))[log.user]
    test = mature & (draw < _TEST) if hold_out_test else np.zeros(len(log), dtype=bool)
    valid = mature & ~test & (draw >= 1 - _VALIDATION)
    return ImpressionSplit(mature & ~test & ~valid, valid, test, int((~mature).sum()), 0, None, by_user=True)
