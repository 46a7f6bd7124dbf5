"""The blueprint of deliveries."""
