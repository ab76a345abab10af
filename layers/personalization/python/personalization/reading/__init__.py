"""Tables in files: read in columns, a chunk at a time, with every line accounted for."""

from personalization.reading.duplicates import SeenIds
from personalization.reading.interactions import ParsedEvents, RowFault, parse_events
from personalization.reading.names import parse_mapping
from personalization.reading.records import Reject
from personalization.reading.table import Chunk, TableReader, open_table

__all__ = [
    "Chunk",
    "ParsedEvents",
    "Reject",
    "RowFault",
    "SeenIds",
    "TableReader",
    "open_table",
    "parse_events",
    "parse_mapping",
]
