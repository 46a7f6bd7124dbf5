"""What happens to accounts beyond signing up and in: forgotten passwords, deletion."""
