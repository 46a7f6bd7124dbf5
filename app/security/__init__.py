"""Password hashes, encryption of stored secrets, and redaction of reported traffic."""
