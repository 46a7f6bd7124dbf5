"""The blueprint of webhooks: their address, status, mute and test send."""
