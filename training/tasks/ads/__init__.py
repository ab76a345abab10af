"""Ads: training from impressions, and what another policy would have earned."""
