"""Secrets: how passwords and tokens are kept, and what of reported traffic is not."""
