"""The items that recommendations rank: data with a pointer of its own, so that a new item needs no new model.

``catalogue/<version>/`` holds parts that never change: a base and deltas, with tombstones for items that are gone;
``catalogue/current.json`` names them in their order.
"""

from personalization.catalog.contents import Catalogue, Part
from personalization.catalog.reader import CatalogueStore
from personalization.catalog.rows import ParsedItems, parse_items
from personalization.catalog.writer import CatalogueWriter

__all__ = ["Catalogue", "CatalogueStore", "CatalogueWriter", "ParsedItems", "Part", "parse_items"]
