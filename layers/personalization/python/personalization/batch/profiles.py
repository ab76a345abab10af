"""Files of interactions for profiles: one line for each user."""

from __future__ import annotations

from personalization.batch.task import ScoringTask
from personalization.batch.user_events import events_by_user
from personalization.bundles.bundle import Bundle
from personalization.profiles import predict


def score(bundle: Bundle, task: ScoringTask) -> None:
    """One line for each user: the profile as of `task.as_of`, else as of the newest timestamp of the file."""
    for events in events_by_user(bundle, task):
        profiles = predict.predict_profiles(bundle, events, task.row_counts.as_of or 0)
        task.write(profiles)
        if task.segments:
            task.segments.add(profiles)
