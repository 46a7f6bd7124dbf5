"""The blueprint of deliveries: their state, their attempts, and redelivery."""
