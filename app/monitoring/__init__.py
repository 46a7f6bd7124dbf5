"""What the service tells about itself: log lines, counters, metrics, readiness."""
