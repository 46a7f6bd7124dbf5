"""The blueprint of webhooks."""
