"""A test message, sent now."""

from app.discord.address import stored_address
from app.discord.client import DiscordClient, Outcome, Verdict
from app.discord.message import build_test_message
from app.extensions import db
from app.models import Webhook
from app.models.columns import utcnow
from app.repositories import discord_limits, webhooks
from app.repositories.outbox import new_nonce, notify


def send_test(client: DiscordClient, webhook: Webhook, source_name: str) -> Outcome:
    """Send a test message and say what Discord said. If it passes, a suspended webhook takes up its work again.

    Nothing is sent while an alarm holds for this kind of address: that is what the outcome then tells.
    """
    address = stored_address(webhook.value_template, webhook.token)
    if alarm := discord_limits.alarms(utcnow()).get(address.kind):
        return Outcome(Verdict.STOP_BOT, alarm)
    db.session.commit()  # No connection is held while Discord takes its time.
    outcome = client.send(address, build_test_message(source_name, webhook.level), new_nonce())
    if outcome.is_invalid_request:
        discord_limits.count_invalid_request(address.kind, utcnow())
    if outcome.verdict is Verdict.DELIVERED and webhook.state == "suspended":
        webhooks.resume(webhook)
        notify()
    db.session.commit()
    return outcome
