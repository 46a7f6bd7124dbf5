"""The blueprint of accounts."""
