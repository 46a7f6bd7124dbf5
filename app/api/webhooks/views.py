from collections.abc import Sequence
from typing import Any

from app.api.auth import current_user
from app.api.base import Blueprint
from app.api.webhooks.schemas import NewWebhookSchema, WebhookChangesSchema, WebhookSchema
from app.extensions import db
from app.models import Webhook
from app.repositories import traffic_sources, webhooks

blp = Blueprint(
    "Webhooks", __name__, url_prefix="/webhooks", description="Where notifications go: at most one webhook a level."
)

# The same path serves both kinds of id, so OpenAPI knows it by one name.
ID = {
    "in": "path",
    "name": "id",
    "description": "POST and GET: the traffic source's id. PUT and DELETE: the webhook's id.",
}
TAKEN = {409: "A webhook for this severity level already exists on this traffic source."}
WEBHOOK_MISSING = {
    403: "The webhook's traffic source belongs to another user.",
    404: "The specified webhook was not found.",
}


@blp.route("/<id:id>", methods=["POST"], parameters=[ID])
@blp.arguments(NewWebhookSchema(), example={"type": "discord", "level": "fatal", "value": "123456789"})
@blp.response(201, WebhookSchema(), description="The created webhook.")
@blp.errors(
    {
        403: "The user does not have permission to create webhooks on this traffic source.",
        404: "The specified traffic source was not found.",
        **TAKEN,
    }
)
def create_webhook(body: dict[str, Any], id: str) -> Webhook:
    """Create Webhook

    Registers a webhook to receive automatic notifications from a specific traffic source. Each traffic source
    can have only one webhook per severity level.
    """
    source = traffic_sources.get_owned(id, current_user.id)
    webhook = webhooks.add(source.id, body["type"], body["level"], body["value"])
    db.session.commit()
    return webhook


@blp.route("/<id:id>", methods=["GET"], parameters=[ID])
@blp.response(200, WebhookSchema(many=True))
@blp.errors({403: "The traffic source belongs to another user.", 404: "The specified traffic source was not found."})
def list_webhooks(id: str) -> Sequence[Webhook]:
    """List the webhooks of a traffic source, most severe level first"""
    return webhooks.list_of(traffic_sources.get_owned(id, current_user.id).id)


@blp.route("/<id:id>", methods=["PUT"], parameters=[ID])
@blp.arguments(WebhookChangesSchema())
@blp.response(200, WebhookSchema())
@blp.errors(WEBHOOK_MISSING | TAKEN)
def update_webhook(changes: dict[str, Any], id: str) -> Webhook:
    """Change where a webhook posts

    A webhook that was suspended takes up its work again, and what waited for it goes out.
    """
    webhook = webhooks.get_owned(id, current_user.id)
    changed = webhooks.change(
        webhook, changes["value"], changes.get("type", webhook.type), changes.get("level", webhook.level)
    )
    db.session.commit()
    return changed


@blp.route("/<id:id>", methods=["DELETE"], parameters=[ID])
@blp.response(204)
@blp.errors(WEBHOOK_MISSING)
def delete_webhook(id: str) -> None:
    """Delete a webhook with its deliveries, pending ones included"""
    webhooks.delete(webhooks.get_owned(id, current_user.id))
    db.session.commit()
