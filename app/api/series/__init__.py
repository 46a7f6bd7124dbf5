"""The blueprint of the series."""
