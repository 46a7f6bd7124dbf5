"""The blueprint of traffic sources and their ingest tokens."""
