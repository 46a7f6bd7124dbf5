"""The alerts of a source: how they do, creation, change and deletion."""

from typing import Any

from flask import flash, redirect, render_template, url_for

from app.api.auth import current_source_id
from app.console import alert_form, forms
from app.console.blueprint import blp, needs, refused_on
from app.extensions import db
from app.models import Alert
from app.repositories import alerts, recent, traffic_sources
from app.repositories.access import Role

KINDS = [
    ("errorRate", "failing: too many errors"),
    ("p95", "slow: too high a p95"),
    ("silence", "silent: no request at all"),
]


@blp.get("/sources/<id:traffic_source_id>/alerts")
@needs(Role.READER)
def alerts_page(traffic_source_id: str) -> Any:
    return render_template(
        "alerts.html",
        source=traffic_sources.get(traffic_source_id),
        alerts=alerts.list_of(traffic_source_id),
        webhooks=_webhooks(traffic_source_id),
        form=forms.sent() or alert_form.EMPTY,
        kinds=KINDS,
        most=alerts.MAX_ALERTS_PER_SOURCE,
    )


@blp.post("/sources/<id:traffic_source_id>/alerts")
@refused_on(alerts_page)
@needs(Role.EDITOR)
def create_alert(traffic_source_id: str) -> Any:
    alerts.add(Alert(**alert_form.load(forms.current().values), traffic_source_id=traffic_source_id))
    db.session.commit()
    flash("The alert is there. It is evaluated once a minute.")
    return _back()


@blp.get("/alerts/<id:alert_id>")
@needs(Role.EDITOR)
def alert_page(alert_id: str) -> Any:
    """Shows the stored alert, or what was typed if this request sent a form."""
    alert, source_id = alerts.get(alert_id), current_source_id()
    return render_template(
        "alert.html",
        source=traffic_sources.get(source_id),
        alert=alert,
        webhooks=_webhooks(source_id),
        form=forms.sent() or alert_form.show(alert),
        kinds=KINDS,
    )


@blp.post("/alerts/<id:alert_id>")
@refused_on(alert_page)
@needs(Role.EDITOR)
def change_alert(alert_id: str) -> Any:
    alerts.replace(alert_id, alert_form.load(forms.current().values))
    db.session.commit()
    flash("The alert is changed.")
    return _back()


@blp.get("/alerts/<id:alert_id>/delete")
@needs(Role.EDITOR)
def delete_alert_page(alert_id: str) -> Any:
    alert, source_id = alerts.get(alert_id), current_source_id()
    source = traffic_sources.get(source_id)
    return render_template("delete_alert.html", source=source, alert=alert, webhooks=_webhooks(source_id))


@blp.post("/alerts/<id:alert_id>/delete")
@refused_on(delete_alert_page)
@needs(Role.EDITOR)
def delete_alert(alert_id: str) -> Any:
    alerts.delete(alert_id)
    db.session.commit()
    flash("The alert is deleted.")
    return _back()


def _webhooks(source_id: str) -> dict[str, Any]:
    return {webhook.level: webhook for webhook in recent.webhooks_of(source_id)}


def _back() -> Any:
    return redirect(url_for("console.alerts_page", traffic_source_id=current_source_id()))
