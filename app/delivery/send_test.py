"""Sends a test message, now."""

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

# While Discord takes its time, each holds a thread of the API.
_room = BoundedSemaphore(2)


def send_test(client: DiscordClient, webhook: Webhook, source_name: str, user_id: str) -> Answer:
    """Send a test message and say what Discord said. If it passes, a suspended webhook takes up its work again.

    Commits. Raises TooManyRequests where the answer could come near Discord's ban, or too many tests are under way.
    """
    address = stored_address(webhook.value_template, webhook.token)
    discord_limits.refuse_test(address.kind, user_id, database_now())
    if not _room.acquire(blocking=False):
        raise TooManyRequests(5, "Other test messages are being sent.")
    try:
        db.session.commit()  # No connection is held while Discord takes its time.
        answer = client.send(address, build_test_message(source_name, webhook.level), new_nonce())
    finally:
        _room.release()
    if answer.outcome is Outcome.DELIVERED:
        webhook = webhooks.get_locked(webhook.id)
        # What another address answered meanwhile does not concern this one.
        if webhook.state == "suspended" and stored_address(webhook.value_template, webhook.token) == address:
            webhooks.resume(webhook)
            wake_dispatchers()
    keep_limits(answer, address.kind, webhook.id, database_now())
    db.session.commit()
    return answer
