"""The blueprint of policies."""
