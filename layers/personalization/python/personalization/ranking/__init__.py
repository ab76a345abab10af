"""From scores to a list that a shop can show: filters, relevance, diversity, promotion, reasons."""
