"""Sends a test message to a webhook's address at once, bypassing the outbox."""

from threading import BoundedSemaphore

from app.delivery.settling import keep_limits
from app.discord.address import stored_address
from app.discord.client import DiscordClient
from app.discord.message import build_test_message
from app.discord.outcome import Answer, Outcome
from app.errors import TooManyRequests
from app.extensions import db
from app.models import Webhook
from app.repositories import discord_limits, webhooks
from app.repositories.clock import database_now
from app.repositories.outbox import new_nonce, wake_dispatchers

# Test sends at a time: each waits for Discord within a request.
_room = BoundedSemaphore(2)


def send_test(client: DiscordClient, webhook: Webhook, source_name: str, user_id: str) -> Answer:
    """Send a test message and return Discord's answer. If it was delivered, resume a suspended webhook.

    Commits. Raises TooManyRequests if tests must wait for Discord's limits or for other tests.
    """
    address = stored_address(webhook.value_template, webhook.token)
    discord_limits.refuse_test(address.kind, user_id, database_now())
    if not _room.acquire(blocking=False):
        raise TooManyRequests(5, "Other test messages are being sent.")
    try:
        db.session.commit()  # Return the connection to the pool while waiting for Discord.
        answer = client.send(address, build_test_message(source_name, webhook.level), new_nonce())
    finally:
        _room.release()
    if answer.outcome is Outcome.DELIVERED:
        webhook = webhooks.get_locked(webhook.id)
        # The answer does not concern an address that was set meanwhile.
        if webhook.state == "suspended" and stored_address(webhook.value_template, webhook.token) == address:
            webhooks.resume(webhook, user_id)
            wake_dispatchers()
    keep_limits(answer, address.kind, webhook.id, database_now(), user_id)
    db.session.commit()
    return answer
