"""Discord: what an address is, what a message looks like, how to send it. Knows no database."""
