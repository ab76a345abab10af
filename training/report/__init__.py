"""report.html of a bundle: one self-contained file, no script, nothing loaded from elsewhere."""

from training.report.binary import binary_charts
from training.report.explained import explained_rows
from training.report.groups import group_section
from training.report.page import Cell, metrics_table, page, section, table

__all__ = ["Cell", "binary_charts", "explained_rows", "group_section", "metrics_table", "page", "section", "table"]
