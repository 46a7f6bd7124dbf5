"""The blueprint of alerts."""
