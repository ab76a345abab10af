"""The context of ad predictions from files: the ads, histories and exposures that a deployed stack reads from its stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personalization.ads.ad_catalog import AdCatalog
from personalization.ads.exposure import Exposure
from personalization.batch.task import JobDependencies, Words
from personalization.core import cells
from personalization.core.events import Events, empty_events
from personalization.core.schema import AD_ID
from training.io.interactions import read_interactions
from training.io.tables import read_chunks
from training.tasks.ads.impressions import read_impressions


def offline_dependencies(
    ads: Path | None, interactions: Sequence[Path], impressions: Path | None, zone: tzinfo
) -> JobDependencies:
    """The catalog of ads, users' events and their earlier impressions, as training reads them; none without a file."""
    catalog = None if ads is None else _ad_catalog(ads, zone)
    return JobDependencies(
        read_ads=lambda: catalog,
        read_events=_event_reader(interactions, zone) if interactions else None,
        exposures_before=_exposures(impressions, zone) if impressions else None,
    )


def _exposures(path: Path, zone: tzinfo) -> Callable[[Words, Words, NDArray[np.int64]], Exposure]:
    log = read_impressions(path, zone=zone)
    code_of_user, code_of_ad = ({word: n for n, word in enumerate(words)} for words in (log.users, log.ads))

    def before(users: Words, ads: Words, timestamps: NDArray[np.int64]) -> Exposure:
        # Users and ads that the log lacks get a code without rows.
        user = np.array([code_of_user.get(word or "", len(code_of_user)) for word in users], dtype=np.int64)
        ad = np.array([code_of_ad.get(word or "", len(code_of_ad)) for word in ads], dtype=np.int64)
        return log.exposures.before(user, ad, timestamps)

    return before


def _ad_catalog(path: Path, zone: tzinfo) -> AdCatalog:
    rows = [
        {name: content[row] for name, content in columns.items() if not cells.is_missing(content[row])}
        for columns, count, _ in read_chunks(path, (AD_ID,), zone=zone)
        for row in range(count)
    ]
    # The first row of an ad counts, as in training.
    return AdCatalog("", 0, list({str(cells.word(row.get(AD_ID))): row for row in reversed(rows)}.values()))


def _event_reader(paths: Sequence[Path], zone: tzinfo) -> Callable[[str], Events]:
    events = read_interactions(paths, zone=zone).events.sorted()
    offsets = events.offsets()
    code = {user: n for n, user in enumerate(events.users)}

    def read(user: str) -> Events:
        if user not in code:
            return empty_events([user])
        first, end = offsets[code[user] : code[user] + 2]
        return events.take(np.arange(first, end)).compact()

    return read
