"""The blueprint of reports and records."""
