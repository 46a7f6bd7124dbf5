"""The blueprint of health and metrics."""
