"""OTLP traces as reports: a request is split into its spans, and those of HTTP servers are read. Pure."""
