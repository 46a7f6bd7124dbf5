"""Creates, lists, replaces and deletes alerts."""

from collections.abc import Sequence
from typing import Any

from app.api import refusals
from app.api.alerts.schemas import AlertSchema, NewAlertSchema
from app.api.blueprint import Blueprint
from app.extensions import db
from app.models import Alert
from app.repositories import alerts
from app.repositories.access import Role

blp = Blueprint("Alerts", __name__, description="Messages about the series of a traffic source.")


@blp.route("/traffic-sources/<id:traffic_source_id>/alerts", methods=["POST"], needs=Role.EDITOR)
@blp.arguments(NewAlertSchema())
@blp.response(201, AlertSchema())
@blp.errors(refusals.SOURCE | {429: "The traffic source has as many alerts as it may have."})
def create_alert(body: dict[str, Any], traffic_source_id: str) -> Alert:
    """Watch an application's error rate, latency or silence

    Evaluated once a minute. One message by the source's webhook of `webhookLevel` says that the alert fires, and one
    that it is over.
    """
    alert = alerts.add(Alert(**body, traffic_source_id=traffic_source_id))
    db.session.commit()
    return alert


@blp.route("/traffic-sources/<id:traffic_source_id>/alerts", methods=["GET"], needs=Role.READER)
@blp.response(200, AlertSchema(many=True))
@blp.errors(refusals.SOURCE)
def list_alerts(traffic_source_id: str) -> Sequence[Alert]:
    """List the alerts of an application, oldest first"""
    return alerts.list_of(traffic_source_id)


@blp.route("/alerts/<id:alert_id>", methods=["PUT"], needs=Role.EDITOR)
@blp.arguments(NewAlertSchema())
@blp.response(200, AlertSchema())
@blp.errors(refusals.ALERT)
def replace_alert(body: dict[str, Any], alert_id: str) -> Alert:
    """Replace an alert's condition

    It keeps its state until it is evaluated, but one of another kind begins with `ok`, without a message.
    """
    alert = alerts.replace(alert_id, body)
    db.session.commit()
    return alert


@blp.route("/alerts/<id:alert_id>", methods=["DELETE"], needs=Role.EDITOR)
@blp.response(204)
@blp.errors(refusals.ALERT)
def delete_alert(alert_id: str) -> None:
    """Delete an alert, without a message"""
    alerts.delete(alert_id)
    db.session.commit()
