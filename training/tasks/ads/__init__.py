"""The ads task: clicks and conversions from a log of impressions."""
