"""Monitoring: log configuration, counters, Prometheus metrics, readiness."""
