"""Accounts beyond sign-up and sign-in: forgotten passwords, deletion."""
