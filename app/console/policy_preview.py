"""What a policy would have made of the last day's events, in a sentence."""

from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any

from flask import current_app

from app.console.display import number
from app.extensions import db
from app.greenlets import yielding
from app.models import Webhook
from app.models.columns import utcnow
from app.policies import Threshold, compile_rule
from app.preview import Preview, Seen, replay
from app.repositories import policies
from app.repositories.incidents import QUIET

DAY = timedelta(days=1)
EMPTY: dict[str, Any] = {"ignore": [], "threshold": None}
# A preview of many events takes seconds of the processor: one at a time leaves the others of a worker to reports.
room = BoundedSemaphore(1)


def of_last_day(webhook: Webhook, policy: dict[str, Any]) -> str:
    """Closes the session, so that no connection is held while it waits or computes."""
    db.session.close()
    with room:
        events = policies.list_events(webhook, utcnow() - DAY)
        db.session.close()
        if not events:
            return f"No {webhook.level} event came in the last day, so there is nothing to preview."
        return _sentence(_replay(events, policy), _replay(events, EMPTY).messages, len(events))


def _replay(events: list[Seen], policy: dict[str, Any]) -> Preview:
    config = current_app.config
    return replay(
        yielding(events),
        [compile_rule(rule) for rule in policy["ignore"]],
        Threshold(**policy["threshold"]) if policy["threshold"] else None,
        timedelta(seconds=config["DIGEST_WINDOW_SECONDS"]),
        timedelta(seconds=config["RECOVERY_AFTER_SECONDS"]) or QUIET,
    )


def _sentence(preview: Preview, messages_without: int, events: int) -> str:
    messages = f"{number(preview.messages)} message{'' if preview.messages == 1 else 's'}"
    all_events = f"{number(events)} event{'' if events == 1 else 's'}"
    return (
        f"Would have sent {messages} instead of {number(messages_without)}; "
        f"{number(preview.ignored)} of {all_events} ignored, {number(preview.held_back)} held back."
    )
