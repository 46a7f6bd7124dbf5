"""The blueprint of health, readiness and metrics, all of them public."""
