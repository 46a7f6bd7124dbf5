"""The people with whom a source is shared, and the invitations that one got."""

from typing import Any

from flask import flash, redirect, render_template, url_for

from app.api.auth import current_user_id
from app.api.shared_traffic_sources.schemas import NewShareSchema, ShareChangesSchema
from app.api.shared_traffic_sources.views import (
    answer_and_commit,
    change_and_commit,
    invite_and_commit,
    remove_and_commit,
)
from app.console import forms
from app.console.blueprint import blp, refused_on
from app.repositories import shares, traffic_sources, users

MAX_SHOWN = 100
VERBS = {"readOnly": "read", "editor": "edit"}


@blp.get("/sources/<id:traffic_source_id>/people")
def people_page(traffic_source_id: str) -> Any:
    invited = shares.list_of(traffic_source_id, 1, MAX_SHOWN).items
    people = users.get_all([share.shared_with_id for share in invited])
    source = traffic_sources.get(traffic_source_id)
    return render_template("people.html", source=source, shares=invited, people=people, verbs=VERBS)


@blp.post("/sources/<id:traffic_source_id>/people")
@refused_on(people_page)
def invite(traffic_source_id: str) -> Any:
    form = forms.current()
    body = form.load(NewShareSchema(exclude=("traffic_source_id",)))
    invite_and_commit(current_user_id(), traffic_source_id, **body)
    flash(f"{body['user_email']} is invited, and finds the invitation at their sources.")
    return _back(traffic_source_id)


@blp.post("/sources/<id:traffic_source_id>/people/<id:share_id>")
@refused_on(lambda traffic_source_id, share_id: people_page(traffic_source_id))
def change_share(traffic_source_id: str, share_id: str) -> Any:
    body = forms.current().load(ShareChangesSchema())
    change_and_commit(current_user_id(), share_id, **body)
    flash(f"They may {VERBS[body['permission']]} from now on.")
    return _back(traffic_source_id)


@blp.post("/sources/<id:traffic_source_id>/people/<id:share_id>/delete")
def delete_share(traffic_source_id: str, share_id: str) -> Any:
    remove_and_commit(current_user_id(), share_id)
    flash("The source is not shared with them any more.")
    return _back(traffic_source_id)


@blp.post("/invitations/<id:share_id>/accept")
def accept_invitation(share_id: str) -> Any:
    share = answer_and_commit(current_user_id(), share_id, "accepted")
    return redirect(url_for("console.source_page", traffic_source_id=share.traffic_source_id))


@blp.post("/invitations/<id:share_id>/reject")
def reject_invitation(share_id: str) -> Any:
    answer_and_commit(current_user_id(), share_id, "rejected")
    flash("The invitation is rejected.")
    return redirect(url_for("console.sources_page"))


@blp.post("/invitations/<id:share_id>/leave")
def leave_source(share_id: str) -> Any:
    remove_and_commit(current_user_id(), share_id)
    flash("You left the source, and do not see it any more.")
    return redirect(url_for("console.sources_page"))


def _back(source_id: str) -> Any:
    return redirect(url_for("console.people_page", traffic_source_id=source_id))
