"""Reads the status of a webhook: its state, its pending events, and its last error."""

from typing import Any

from app.models import Webhook
from app.models.columns import utcnow
from app.repositories import deliveries, policies


def status_of(webhook: Webhook) -> dict[str, Any]:
    return {
        "state": webhook.state,
        "reason": webhook.reason,
        **policies.counts(webhook.id),
        "pending": deliveries.count_pending_events(webhook.id),
        "last_delivered_at": webhook.last_delivered_at,
        "last_error": webhook.last_error,
        "muted_until": webhook.muted_until if webhook.muted_until and webhook.muted_until > utcnow() else None,
    }
