"""What a prediction for ads knows beside its file, read from files where a stack would ask its stores."""

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
    """The ads table, users' histories and what they had to do with ads, as training reads them; nothing without a file."""
    catalogue = None if ads is None else _catalogue(ads, zone)
    return JobDependencies(
        read_ads=lambda: catalogue,
        read_events=_reader(interactions, zone) if interactions else None,
        exposures_before=_exposures(impressions, zone) if impressions else None,
    )


def _exposures(path: Path, zone: tzinfo) -> Callable[[Words, Words, NDArray[np.int64]], Exposure]:
    log = read_impressions(path, zone=zone)
    code_of_user, code_of_ad = ({word: n for n, word in enumerate(words)} for words in (log.users, log.ads))

    def before(users: Words, ads: Words, moments: NDArray[np.int64]) -> Exposure:
        # who is not in the log has a code that it does not hold
        user = np.array([code_of_user.get(word or "", len(code_of_user)) for word in users], dtype=np.int64)
        ad = np.array([code_of_ad.get(word or "", len(code_of_ad)) for word in ads], dtype=np.int64)
        return log.exposures.before(user, ad, moments)

    return before


def _catalogue(path: Path, zone: tzinfo) -> AdCatalog:
    rows = [
        {name: content[row] for name, content in columns.items() if not cells.is_missing(content[row])}
        for columns, count, _ in read_chunks(path, (AD_ID,), zone=zone)
        for row in range(count)
    ]
    # the first row of an ad counts, as in training
    return AdCatalog("", 0, list({str(cells.word(row.get(AD_ID))): row for row in reversed(rows)}.values()))


def _reader(paths: Sequence[Path], zone: tzinfo) -> Callable[[str], Events]:
    events = read_interactions(paths, zone=zone).events.sorted()
    offsets = events.offsets()
    code = {user: n for n, user in enumerate(events.users)}

    def read(user: str) -> Events:
        if user not in code:
            return empty_events([user])
        first, end = offsets[code[user] : code[user] + 2]
        return events.take(np.arange(first, end)).compact()

    return read
