"""The form of an alert: what was typed as the API's body, and the body of an alert as what is typed."""

from typing import Any

from app.api.alerts.schemas import NewAlertSchema
from app.console.forms import Form
from app.console.numerals import decimal, integer, plain
from app.models import Alert

TEXTS = ("kind", "webhookLevel")
# What a new form holds.
EMPTY = Form({"kind": "errorRate", "minutes": "10", "minRequests": "20"})


def load(values: dict[str, str]) -> dict[str, Any]:
    """The alert that was typed. What has no meaning for its kind is left out. Raises ValidationError."""
    typed = {name: values.get(name, "").strip() for name in (*TEXTS, "minutes", "threshold", "minRequests")}
    body: dict[str, Any] = {name: typed[name] for name in TEXTS} | {"minutes": integer(typed["minutes"])}
    if typed["kind"] != "silence":
        body["threshold"] = decimal(typed["threshold"]) if typed["threshold"] else None
        body["minRequests"] = integer(typed["minRequests"]) if typed["minRequests"] else None
    loaded: dict[str, Any] = NewAlertSchema().load(body)
    return loaded


def show(alert: Alert) -> Form:
    """A form that holds ``alert``."""
    return Form(
        {
            "kind": alert.kind,
            "threshold": plain(alert.threshold),
            "minutes": str(alert.minutes),
            "minRequests": plain(alert.min_requests),
            "webhookLevel": alert.webhook_level,
        }
    )
