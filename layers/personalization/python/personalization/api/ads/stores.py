"""The stores of the ad routes."""

from __future__ import annotations

from dataclasses import dataclass

from personalization.ads.ad_catalog import AdCatalogReader
from personalization.ads.budgets.store import Budgets
from personalization.ads.exposure import ExposureStore
from personalization.api.services import Services
from personalization.state import StateStore
from personalization.state.dynamodb import StateTable


@dataclass(frozen=True)
class AdStores:
    """users       events and attributes of users
    budgets     budgets and frequency caps
    exposures   counts of users' earlier impressions
    catalog     the ads that run now

    Each may be `None`; then nothing is read from it or stored in it.
    """

    users: StateStore | None = None
    budgets: Budgets | None = None
    exposures: ExposureStore | None = None
    catalog: AdCatalogReader | None = None

    @classmethod
    def of(cls, services: Services) -> AdStores:
        """The stores of a function. Nothing is read yet."""
        settings, clock = services.settings, services.clock
        catalog = AdCatalogReader(services.s3, settings.data_bucket, clock=clock)
        if services.dynamodb is None:
            return cls(services.state, catalog=catalog)
        table = StateTable(services.dynamodb, settings.state_table)
        budgets = Budgets(services.dynamodb, settings.state_table, clock=clock)
        return cls(services.state, budgets, ExposureStore(table, settings.state_ttl_days), catalog)
