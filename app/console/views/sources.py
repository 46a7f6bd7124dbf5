"""The list of sources, and the page on which one is renamed and deleted."""

from collections import Counter
from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for

from app.api.auth import current_user_id
from app.api.traffic_sources.schemas import (
    NewTrafficSourceSchema,
    TrafficSourceChangesSchema,
    TrafficSourceQueryArgsSchema,
)
from app.console import forms, verdicts
from app.console.blueprint import blp, refused_on
from app.extensions import db
from app.models import TrafficSource
from app.models.columns import utcnow
from app.repositories import alerts, recent, shares, traffic_sources, users
from app.repositories.base import Order

PAGE_LENGTH = 50
MAX_INVITATIONS = 100
BY_NAME = Order("name", descends=False)


@blp.get("/sources")
def sources_page() -> Any:
    query = TrafficSourceQueryArgsSchema().load(request.args)
    pending = shares.list_with(current_user_id(), 1, MAX_INVITATIONS, "pending").items
    db.session.commit()  # Hold no connection while waiting for the room of lists.
    accepted = shares.list_with(current_user_id(), 1, MAX_INVITATIONS, "accepted").items
    db.session.commit()
    page = traffic_sources.list_of(current_user_id(), query["page"], PAGE_LENGTH, BY_NAME, query.get("name"))
    shown = [source.id for source in page.items]
    return render_template(
        "sources.html",
        page=page,
        states=recent.states_of(shown),
        firing=Counter(alert.traffic_source_id for alert in alerts.firing_of(shown)),
        verdicts=verdicts.of_sources(shown, utcnow()),
        wanted=query.get("name", ""),
        user_id=current_user_id(),
        invitations=pending,
        inviters=users.get_all([share.user_id for share in pending]),
        accepted={share.traffic_source_id: share.id for share in accepted},
    )


@blp.post("/sources")
@refused_on(sources_page)
def create_source() -> Any:
    source = TrafficSource(**forms.current().load(NewTrafficSourceSchema()), user_id=current_user_id())
    traffic_sources.add(source, current_app.config["MAX_SOURCES_PER_USER"])
    db.session.commit()
    return redirect(url_for("console.webhooks_page", traffic_source_id=source.id))


@blp.get("/sources/<id:traffic_source_id>/settings")
def settings_page(traffic_source_id: str) -> Any:
    return render_template("settings.html", source=traffic_sources.get(traffic_source_id))


@blp.post("/sources/<id:traffic_source_id>/settings")
@refused_on(settings_page)
def change_source(traffic_source_id: str) -> Any:
    source = traffic_sources.get(traffic_source_id)
    for name, value in forms.current().load(TrafficSourceChangesSchema()).items():
        setattr(source, name, value)
    traffic_sources.save(source)
    db.session.commit()
    flash("The source is changed.")
    return redirect(url_for("console.settings_page", traffic_source_id=traffic_source_id))


@blp.get("/sources/<id:traffic_source_id>/delete")
def delete_source_page(traffic_source_id: str) -> Any:
    source = traffic_sources.get(traffic_source_id)
    return render_template("delete_source.html", source=source)


@blp.post("/sources/<id:traffic_source_id>/delete")
@refused_on(delete_source_page)
def delete_source(traffic_source_id: str) -> Any:
    source = traffic_sources.get(traffic_source_id)
    traffic_sources.delete(source)
    db.session.commit()
    flash(f"{source.name} is deleted, with all that belonged to it.")
    return redirect(url_for("console.sources_page"))
