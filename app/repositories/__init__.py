"""Queries. They flush but do not commit, except functions whose name ends in ``_and_commit``."""
