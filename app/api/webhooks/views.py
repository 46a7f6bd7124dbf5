"""Creates, changes, mutes, tests and deletes webhooks."""

from typing import Any

from app.api import refusals
from app.api.auth import checked_by_statement, current_caller, current_role, current_user_id
from app.api.blueprint import Blueprint
from app.api.webhooks.schemas import (
    MuteSchema,
    NewWebhookSchema,
    TestResultSchema,
    WebhookChangesSchema,
    WebhookSchema,
    WebhookStatusSchema,
)
from app.api.webhooks.testing import send_test_and_commit
from app.extensions import db
from app.repositories import webhooks
from app.repositories.access import Role
from app.repositories.outbox import wake_dispatchers
from app.repositories.webhook_status import status_of

blp = Blueprint(
    "Webhooks",
    __name__,
    url_prefix="/webhooks",
    description="Destinations of notifications: at most one webhook per level.",
)

TAKEN = {409: "A webhook for this severity level already exists on this traffic source."}


@blp.route("/<id:traffic_source_id>", methods=["POST"], guard=checked_by_statement)
@blp.arguments(NewWebhookSchema(), example={"type": "discord", "level": "fatal", "value": "123456789"})
@blp.response(201, WebhookSchema(), description="The created webhook.")
@blp.errors(
    refusals.SOURCE | TAKEN | {403: "The user does not have permission to create webhooks on this traffic source."}
)
def create_webhook(body: dict[str, Any], traffic_source_id: str) -> dict[str, Any]:
    """Create Webhook

    Registers a webhook to receive automatic notifications from a specific traffic source. Each traffic source
    can have only one webhook per severity level.
    """
    return webhooks.add_and_commit(current_caller(), traffic_source_id, body["type"], body["level"], body["value"])


@blp.route("/<id:traffic_source_id>", methods=["GET"], guard=checked_by_statement)
@blp.response(200, WebhookSchema(many=True))
@blp.errors(refusals.SOURCE)
def list_webhooks(traffic_source_id: str) -> list[dict[str, Any]]:
    """List the webhooks of a traffic source, most severe level first"""
    return webhooks.list_of(current_caller(), traffic_source_id)


@blp.route("/<id:webhook_id>", methods=["PUT"], needs=Role.EDITOR)
@blp.arguments(WebhookChangesSchema())
@blp.response(200, WebhookSchema())
@blp.errors(refusals.WEBHOOK | TAKEN)
def update_webhook(changes: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """Change where a webhook posts

    A suspended webhook is resumed, and its pending deliveries are sent.
    """
    webhook = webhooks.get(webhook_id)
    type, level = changes.get("type", webhook.type), changes.get("level", webhook.level)
    webhooks.change(webhook, changes["value"], type, level, current_user_id())
    wake_dispatchers()
    db.session.commit()
    return webhooks.shown(webhook, current_role())


@blp.route("/<id:webhook_id>", methods=["DELETE"], needs=Role.EDITOR)
@blp.response(204)
@blp.errors(refusals.WEBHOOK)
def delete_webhook(webhook_id: str) -> None:
    """Delete a webhook with all its deliveries, also pending ones"""
    webhooks.delete(webhooks.get(webhook_id))
    db.session.commit()


@blp.route("/<id:webhook_id>/test", methods=["POST"], needs=Role.EDITOR)
@blp.response(200, TestResultSchema())
@blp.errors(refusals.WEBHOOK | {429: "More than 10 tests a minute, or Discord refused too many requests lately."})
def test_webhook(webhook_id: str) -> dict[str, Any]:
    """Send a test message now, and return Discord's answer

    If Discord accepts it, a suspended webhook is resumed, and its pending deliveries are sent.
    """
    return send_test_and_commit(webhook_id, current_user_id())


@blp.route("/<id:webhook_id>/status", methods=["GET"], needs=Role.READER)
@blp.response(200, WebhookStatusSchema())
@blp.errors(refusals.WEBHOOK)
def get_webhook_status(webhook_id: str) -> dict[str, Any]:
    """Get a webhook's state, pending events and last error"""
    return status_of(webhooks.get(webhook_id))


@blp.route("/<id:webhook_id>/mute", methods=["POST"], needs=Role.EDITOR)
@blp.arguments(MuteSchema())
@blp.response(200, WebhookStatusSchema())
@blp.errors(refusals.WEBHOOK)
def mute_webhook(body: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """Mute a webhook until a time; events gather and are sent then, as one message"""
    webhook = webhooks.get(webhook_id)
    webhooks.mute(webhook, body["until"])
    db.session.commit()
    return status_of(webhook)


@blp.route("/<id:webhook_id>/mute", methods=["DELETE"], needs=Role.EDITOR)
@blp.response(204)
@blp.errors(refusals.WEBHOOK)
def unmute_webhook(webhook_id: str) -> None:
    """End a mute; events that gathered are sent now"""
    webhooks.mute(webhooks.get(webhook_id), None)
    wake_dispatchers()
    db.session.commit()
