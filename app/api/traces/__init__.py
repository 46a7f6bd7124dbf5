"""The blueprint of OTLP traces."""
