"""The dispatcher: claims deliveries of the outbox, sends them to Discord, settles them, purges old rows."""
