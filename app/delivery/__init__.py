"""From the outbox to Discord: claim, send, settle."""
