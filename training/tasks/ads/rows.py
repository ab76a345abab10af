"""From impressions to the rows that a network learns from: the runtime's own description of each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from numpy.typing import NDArray

from personalization.ads.exposure import ExposureLog
from personalization.ads.features import Ads
from personalization.ads.impression_features import Columns, Shown, describe_rows
from personalization.core.events import Events
from personalization.features import Window
from training.tasks.ads.impressions import Impressions


@dataclass(frozen=True)
class ImpressionSources:
    """What is known of the users of a log.

    events       of the log's users, in the log's order of users
    attributes   columns of the users table, (U,) each
    ads          in the log's order of ads
    exposures    the whole log, for what users had seen before
    """

    events: Events
    attributes: Mapping[str, NDArray[Any]]
    ads: Ads
    exposures: ExposureLog
    window: Window
    zone: tzinfo


def described(log: Impressions, histories: ImpressionSources) -> Columns:
    """Columns of the impressions of `log`, float32 or object, as the model's encoder takes them."""
    exposure = histories.exposures.before(log.user, log.ad, log.moment)
    shown = Shown(log.user, log.ad, log.moment, exposure, log.placement.tolist(), log.channel.tolist())
    return describe_rows(shown, histories.events, histories.attributes, histories.ads, histories.window, histories.zone)
