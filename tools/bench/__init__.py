"""The benchmark: the service beside its baselines."""
