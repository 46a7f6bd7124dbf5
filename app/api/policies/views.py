"""Reads and replaces the policies of webhooks."""

from typing import Any

from app.api import refusals
from app.api.blueprint import Blueprint
from app.api.policies.schemas import PolicySchema
from app.extensions import db
from app.repositories import policies, webhooks
from app.repositories.access import Role
from app.repositories.outbox import wake_dispatchers

blp = Blueprint("Policies", __name__, url_prefix="/webhooks", description="What becomes a message.")


@blp.route("/<id:webhook_id>/policy", methods=["GET"], needs=Role.READER)
@blp.response(200, PolicySchema())
@blp.errors(refusals.WEBHOOK)
def get_policy(webhook_id: str) -> dict[str, Any]:
    """Get a webhook's policy"""
    return policies.shown(webhooks.get(webhook_id))


@blp.route("/<id:webhook_id>/policy", methods=["PUT"], needs=Role.EDITOR)
@blp.arguments(PolicySchema())
@blp.response(200, PolicySchema())
@blp.errors(refusals.WEBHOOK)
def replace_policy(policy: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """Replace a webhook's policy"""
    webhook = webhooks.get(webhook_id)
    policies.change(webhook, policy)
    wake_dispatchers()
    db.session.commit()
    return policies.shown(webhook)
