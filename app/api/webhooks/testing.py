"""Sends a user's test message, for the API's view and the console's."""

from typing import Any

from flask import current_app

from app.api import rate_limits
from app.delivery.send_test import send_test
from app.discord.outcome import Outcome
from app.repositories import traffic_sources, webhooks


def send_test_and_commit(webhook_id: str, user_id: str) -> dict[str, Any]:
    """Send a test message; returns Discord's answer. Raises WebhookNotFound, TooManyRequests."""
    webhook = webhooks.get(webhook_id)
    source = traffic_sources.get(str(webhook.traffic_source_id))
    rate_limits.test_send(user_id)
    answer = send_test(current_app.extensions["discord"], webhook, source.name, user_id)
    ok = answer.outcome is Outcome.DELIVERED
    return {
        "ok": ok,
        "status": answer.status,
        "discord_code": answer.discord_code,
        "message": "The test message was delivered." if ok else answer.reason,
    }
