"""Who is this customer and what will they do: predictions, RFM segments, segments by predicted behaviour."""
