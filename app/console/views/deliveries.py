"""The deliveries of a webhook, the attempts of each, and redelivery."""

from typing import Any

from flask import flash, redirect, render_template, request, url_for

from app.api.auth import current_source_id
from app.api.deliveries.schemas import DeliveryQueryArgsSchema
from app.api.fields import Identifier
from app.console import forms
from app.console.blueprint import blp, is_fragment, needs, refused_on
from app.console.told import told
from app.extensions import db
from app.greenlets import yielding
from app.models.columns import utcnow
from app.models.delivery import STATES
from app.repositories import deliveries, traffic_sources, webhooks
from app.repositories.access import Role
from app.repositories.outbox import wake_dispatchers

PAGE_LENGTH = 50
# A digest of 150 kinds or more is told by its number of events in the list, so that a page stays cheap.
MAX_DIGEST_BYTES = 50_000


class DeliveriesPageSchema(DeliveryQueryArgsSchema):
    before = Identifier()


@blp.get("/webhooks/<id:webhook_id>/deliveries")
@needs(Role.READER)
def deliveries_page(webhook_id: str) -> Any:
    query = DeliveriesPageSchema().load(request.args)
    state, before = query.get("state"), query.get("before")
    source, webhook = traffic_sources.get(current_source_id()), webhooks.get(webhook_id)
    found = deliveries.list_before(webhook_id, before, PAGE_LENGTH + 1, state)
    older = found[PAGE_LENGTH - 1].id if len(found) > PAGE_LENGTH else None
    shown = found[:PAGE_LENGTH]
    digests = deliveries.list_digests([delivery.id for delivery in shown], MAX_DIGEST_BYTES)
    return render_template(
        "deliveries.html",
        source=source,
        webhook=webhook,
        deliveries=shown,
        told={id: told(webhook.level, digest) for id, digest in yielding(digests.items())},
        states=STATES,
        state=state,
        older=older,
        before=before,
    )


@blp.get("/deliveries/<id:delivery_id>")
@needs(Role.READER)
def delivery_page(delivery_id: str) -> Any:
    delivery = deliveries.get(delivery_id)
    source, attempts = traffic_sources.get(current_source_id()), deliveries.list_attempts(delivery_id)
    return render_template(
        "_delivery.html" if is_fragment() else "delivery.html",
        source=source,
        webhook=delivery.webhook,
        delivery=delivery,
        told=told(delivery.webhook.level, delivery.digest),
        attempts=attempts,
    )


@blp.post("/deliveries/<id:delivery_id>/redeliver")
@refused_on(delivery_page)
@needs(Role.EDITOR)
def redeliver(delivery_id: str) -> Any:
    """Leads back to the page whose button it was: the list's forms say ``list``."""
    delivery = deliveries.get(delivery_id)
    deliveries.redeliver(delivery, utcnow())
    wake_dispatchers()
    db.session.commit()
    is_active = delivery.webhook.state == "active"
    flash("The message is sent again." if is_active else "The message waits until its suspended webhook is resumed.")
    if forms.current().values.get("from") == "list":
        return redirect(url_for("console.deliveries_page", webhook_id=delivery.webhook_id))
    return redirect(url_for("console.delivery_page", delivery_id=delivery_id))
