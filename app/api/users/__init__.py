"""The blueprint of accounts: sign-up, sign-in, profile."""
