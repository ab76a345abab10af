"""report.html of a bundle: one self-contained file without scripts; nothing is loaded from elsewhere."""

from training.report.charts import binary_charts
from training.report.page import Cell, metrics_table, page, section, table
from training.report.sections import explained_rows, group_section

__all__ = ["Cell", "binary_charts", "explained_rows", "group_section", "metrics_table", "page", "section", "table"]
