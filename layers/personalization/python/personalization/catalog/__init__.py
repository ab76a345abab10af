"""The items that recommendations rank. They are data with a pointer of their own, so a new item needs no new model."""

from personalization.catalog.item_catalog import CatalogPart, ItemCatalog, empty_catalog
from personalization.catalog.rows import ParsedItems, parse_items
from personalization.catalog.store import CatalogReader, CatalogWriter

__all__ = ["CatalogPart", "CatalogReader", "CatalogWriter", "ItemCatalog", "ParsedItems", "empty_catalog", "parse_items"]
