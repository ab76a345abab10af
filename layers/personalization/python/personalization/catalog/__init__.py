"""The items that recommendations rank: data with a pointer of its own, so that a new item needs no new model.

``catalogue/<version>/`` holds parts that never change: a base and deltas, with tombstones for items that are gone;
``catalogue/current.json`` names them in their order.
"""

from personalization.catalog.contents import CatalogPart, ItemCatalog
from personalization.catalog.reader import CatalogReader
from personalization.catalog.rows import ParsedItems, parse_items
from personalization.catalog.writer import CatalogWriter

__all__ = ["CatalogPart", "CatalogReader", "CatalogWriter", "ItemCatalog", "ParsedItems", "parse_items"]
