"""The blueprint of shares."""
