"""Readers of tables in files: column mapping, CSV and JSON Lines, and interactions with their faults and duplicates."""

from personalization.data.column_mapping import parse_mapping
from personalization.data.duplicates import SeenIds
from personalization.data.interactions import ParsedEvents, parse_events
from personalization.data.records import Reject
from personalization.data.table_reader import Chunk, TableReader, open_table

__all__ = [
    "Chunk",
    "ParsedEvents",
    "Reject",
    "SeenIds",
    "TableReader",
    "open_table",
    "parse_events",
    "parse_mapping",
]
