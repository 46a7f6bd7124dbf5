"""Programs beside the service."""
