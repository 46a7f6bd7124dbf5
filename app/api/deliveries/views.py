"""Lists deliveries and their attempts, and redelivers."""

from collections.abc import Sequence
from typing import Any

from app.api import refusals
from app.api.blueprint import Blueprint
from app.api.deliveries.schemas import AttemptSchema, DeliveryQueryArgsSchema, DeliverySchema
from app.api.schema import page_schema
from app.extensions import db
from app.models import Delivery, DeliveryAttempt
from app.models.columns import utcnow
from app.repositories import deliveries
from app.repositories.access import Role
from app.repositories.base import Page
from app.repositories.outbox import wake_dispatchers

blp = Blueprint("Deliveries", __name__, description="Messages of a webhook: pending, sent and discarded.")


@blp.route("/webhooks/<id:webhook_id>/deliveries", methods=["GET"], needs=Role.READER)
@blp.arguments(DeliveryQueryArgsSchema(), location="query")
@blp.response(200, page_schema(DeliverySchema))
@blp.errors(refusals.WEBHOOK)
def list_deliveries(query: dict[str, Any], webhook_id: str) -> Page:
    """List a webhook's deliveries, newest first"""
    return deliveries.list_of(webhook_id, **query)


@blp.route("/deliveries/<id:delivery_id>/redeliver", methods=["POST"], needs=Role.EDITOR)
@blp.response(202, DeliverySchema())
@blp.errors(refusals.DELIVERY | {409: "The delivery is being sent right now."})
def redeliver(delivery_id: str) -> Delivery:
    """Send a settled delivery again, or a pending one at once"""
    delivery = deliveries.get(delivery_id)
    deliveries.redeliver(delivery, utcnow())
    wake_dispatchers()
    db.session.commit()
    return delivery


@blp.route("/deliveries/<id:delivery_id>/attempts", methods=["GET"], needs=Role.READER)
@blp.response(200, AttemptSchema(many=True))
@blp.errors(refusals.DELIVERY)
def list_attempts(delivery_id: str) -> Sequence[DeliveryAttempt]:
    """List a delivery's last 100 attempts, each with Discord's answer, oldest first"""
    return deliveries.list_attempts(delivery_id)
