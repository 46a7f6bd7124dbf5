"""The webhooks of a source: how they do, and creation, address, test, mute and deletion."""

from datetime import timedelta
from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for
from marshmallow import fields, validate

from app.api.auth import current_caller, current_source_id, current_user_id
from app.api.schema import Schema
from app.api.webhooks.schemas import MuteSchema, NewWebhookSchema, WebhookChangesSchema
from app.api.webhooks.testing import send_test_and_commit
from app.console import forms
from app.console.blueprint import blp, needs, refused_on
from app.console.display import iso
from app.discord.address import Address
from app.extensions import db
from app.models.columns import utcnow
from app.models.traffic import LEVELS
from app.repositories import policies, recent, traffic_sources, webhooks
from app.repositories.access import Role
from app.repositories.outbox import wake_dispatchers
from app.repositories.webhook_status import status_of

LEVEL_TEXTS = {
    "fatal": "fatal – status 500 and above",
    "warning": "warning – status 400 to 499",
    "info": "info – everything else",
}
MUTES = {1: "1 hour", 8: "8 hours", 24: "1 day", 168: "1 week", 2160: "90 days"}


class MuteHoursSchema(Schema):
    hours = fields.Integer(required=True, validate=validate.OneOf(MUTES))


@blp.get("/sources/<id:traffic_source_id>/webhooks")
@needs(Role.READER)
def webhooks_page(traffic_source_id: str) -> Any:
    source = traffic_sources.get(traffic_source_id)
    found = recent.webhooks_of(traffic_source_id)
    shown = [(webhook, status_of(webhook), policies.shown(webhook)) for webhook in found]
    taken = {webhook.level for webhook, *_ in shown}
    free = [level for level in LEVELS if level not in taken]
    return render_template(
        "webhooks.html",
        source=source,
        webhooks=shown,
        free=free,
        levels=[(level, LEVEL_TEXTS[level]) for level in free or LEVELS],
        has_public_url=bool(current_app.config["PUBLIC_URL"]),
        mutes=MUTES,
        revealed=request.args.get("show"),
        has_bot=_has_bot(),
    )


def page_of_webhook(webhook_id: str) -> Any:
    return webhooks_page(current_source_id())


@blp.post("/sources/<id:traffic_source_id>/webhooks")
@refused_on(webhooks_page)
@needs(Role.EDITOR)
def create_webhook(traffic_source_id: str) -> Any:
    form = forms.current()
    form.values["type"] = "discord"
    body = form.load(NewWebhookSchema())
    webhooks.add_and_commit(current_caller(), traffic_source_id, body["type"], body["level"], body["value"])
    _say(body["value"], f"The {body['level']} webhook is there")
    return _back()


@blp.post("/webhooks/<id:webhook_id>/address")
@refused_on(page_of_webhook)
@needs(Role.EDITOR)
def change_webhook(webhook_id: str) -> Any:
    address = forms.current().load(WebhookChangesSchema(only=("value",)))["value"]
    webhook = webhooks.get(webhook_id)
    webhooks.change(webhook, address, webhook.type, webhook.level, current_user_id())
    wake_dispatchers()
    db.session.commit()
    _say(address, f"The {webhook.level} webhook has its new address")
    return _back()


@blp.post("/webhooks/<id:webhook_id>/test")
@refused_on(page_of_webhook)
@needs(Role.EDITOR)
def test_webhook(webhook_id: str) -> Any:
    result = send_test_and_commit(webhook_id, current_user_id())
    flash(result["message"], "message" if result["ok"] else "problem")
    return _back()


@blp.post("/webhooks/<id:webhook_id>/mute")
@refused_on(page_of_webhook)
@needs(Role.EDITOR)
def mute_webhook(webhook_id: str) -> Any:
    hours = forms.current().load(MuteHoursSchema())["hours"]
    until = MuteSchema().load({"until": iso(utcnow() + timedelta(hours=hours))})["until"]
    webhook = webhooks.get(webhook_id)
    webhooks.mute(webhook, until)
    db.session.commit()
    flash(f"The {webhook.level} webhook is muted for {MUTES[hours]}. Its events gather, and are sent then.")
    return _back()


@blp.post("/webhooks/<id:webhook_id>/unmute")
@refused_on(page_of_webhook)
@needs(Role.EDITOR)
def unmute_webhook(webhook_id: str) -> Any:
    webhook = webhooks.get(webhook_id)
    webhooks.mute(webhook, None)
    wake_dispatchers()
    db.session.commit()
    flash(f"The {webhook.level} webhook posts again.")
    return _back()


@blp.get("/webhooks/<id:webhook_id>/delete")
@needs(Role.EDITOR)
def delete_webhook_page(webhook_id: str) -> Any:
    webhook = webhooks.get(webhook_id)
    source = traffic_sources.get(current_source_id())
    return render_template("delete_webhook.html", source=source, webhook=webhook, status=status_of(webhook))


@blp.post("/webhooks/<id:webhook_id>/delete")
@refused_on(delete_webhook_page)
@needs(Role.EDITOR)
def delete_webhook(webhook_id: str) -> Any:
    webhook = webhooks.get(webhook_id)
    level = webhook.level
    webhooks.delete(webhook)
    db.session.commit()
    flash(f"The {level} webhook is deleted.")
    return _back()


def _say(address: Address, done: str) -> None:
    """Tell what was done, and at once if it comes to nothing. (The API takes a channel ID without a bot.)"""
    if address.token is None and not _has_bot():
        flash(f"{done}, but nothing can be posted: a channel ID needs a bot, and this service has none.", "problem")
    else:
        flash(f"{done}. Send a test message to see whether it arrives.")


def _has_bot() -> bool:
    return bool(current_app.config["DISCORD_BOT_TOKEN"])


def _back() -> Any:
    return redirect(url_for("console.webhooks_page", traffic_source_id=current_source_id()))
