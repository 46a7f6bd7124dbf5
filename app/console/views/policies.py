"""The policy of a webhook: the form that changes it, and its preview over the last day."""

from typing import Any

from flask import flash, redirect, render_template, url_for
from marshmallow import ValidationError

from app.api.auth import current_source_id
from app.api.policies.schemas import MAX_RULES
from app.console import forms, policy_form, policy_preview
from app.console.blueprint import blp, is_fragment, needs, refused_on
from app.extensions import db
from app.repositories import policies, traffic_sources, webhooks
from app.repositories.access import Role
from app.repositories.outbox import wake_dispatchers

METHODS = [(name.lower(), name) for name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")]


@blp.get("/webhooks/<id:webhook_id>/policy")
@needs(Role.EDITOR)
def policy_page(webhook_id: str, preview: str | None = None, spare_rows: int = 0) -> Any:
    """Shows the stored policy, or what was typed if this request sent a form."""
    webhook, sent = webhooks.get(webhook_id), forms.sent()
    form = sent or policy_form.show(policies.shown(webhook))
    return render_template(
        "policy.html",
        source=traffic_sources.get(current_source_id()),
        webhook=webhook,
        form=policy_form.tidy(form),
        rows=policy_form.count_rows(form, spare=spare_rows if sent else policy_form.SPARE_ROWS),
        is_row_added=spare_rows > 0,
        methods=METHODS,
        max_rules=MAX_RULES,
        max_previewed=policies.MAX_PREVIEWED,
        preview=preview,
    )


@blp.post("/webhooks/<id:webhook_id>/policy")
@refused_on(policy_page)
@needs(Role.EDITOR)
def change_policy(webhook_id: str) -> Any:
    policy = policy_form.load(forms.current().values)
    webhook = webhooks.get(webhook_id)
    policies.change(webhook, policy)
    wake_dispatchers()
    db.session.commit()
    flash(f"The policy of the {webhook.level} webhook is saved.")
    return redirect(url_for("console.webhooks_page", traffic_source_id=current_source_id()))


@blp.post("/webhooks/<id:webhook_id>/policy/rows")
@refused_on(policy_page)
@needs(Role.EDITOR)
def add_policy_row(webhook_id: str) -> Any:
    return policy_page(webhook_id, spare_rows=1)


@blp.post("/webhooks/<id:webhook_id>/policy/preview")
@refused_on(policy_page)
@needs(Role.EDITOR)
def preview_policy(webhook_id: str) -> Any:
    """Answers htmx with the sentence alone, also for what is refused, since an older one would be wrong."""
    try:
        policy = policy_form.load(forms.current().values)
    except ValidationError:
        if is_fragment():
            return render_template("_preview.html", is_refused=True)
        raise
    preview = policy_preview.of_last_day(webhooks.get(webhook_id), policy)
    return render_template("_preview.html", preview=preview) if is_fragment() else policy_page(webhook_id, preview)
