"""Discord: addresses, messages, the HTTP client, and the meaning of answers. No database."""
