"""Queries. They flush and never commit: the caller's transaction decides what becomes of them."""
