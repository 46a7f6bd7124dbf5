"""``make replay``: a day of a shop's traffic, as a webhook without and with a policy tells it.

The real application and dispatcher run on SQLite and on the day's own clock, against a stand-in for Discord.
"""

import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from unittest.mock import patch

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import select

from app import create_app
from app.cli import make_dispatcher
from app.digests import AlertChange, Digest, Recovery, Reminder, loads
from app.extensions import db, init_migrations
from app.models import Delivery, Webhook
from tools.day import traffic
from tools.fake_discord import Discord
from tools.story import Client, Story, json_of

# Reporters send this often. After the last request, recoveries and what is held back are waited for.
STEP, AFTERWARDS = timedelta(seconds=30), timedelta(minutes=12)
POLICIES: dict[str, dict[str, Any]] = {
    "fatal": {
        "ignore": [{"method": "get", "pathname": "/health*"}],
        "threshold": {"events": 3, "seconds": 300},
        "mention": {"roleId": "123456789012345678"},
        "remindAfterSeconds": 1800,
    },
    "warning": {
        "ignore": [{"status": "404", "pathname": pathname} for pathname in ("*.php", "/.env*")],
        "threshold": {"events": 20, "seconds": 300},
    },
}
ALERTS: list[dict[str, Any]] = [
    {"kind": "p95", "threshold": 1000, "minRequests": 20, "minutes": 10, "webhookLevel": "fatal"},
    {"kind": "silence", "minutes": 15, "webhookLevel": "fatal"},
]
KINDS: dict[type, str] = {Digest: "events", Recovery: "recoveries", Reminder: "reminders", AlertChange: "alerts"}


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Told:
    """What became of the events of a source's webhooks. ``messages`` are counted by kind."""

    accepted: int = 0
    told: int = 0
    ignored: int = 0
    held_back: int = 0
    pings: int = 0
    messages: Counter[str] = field(default_factory=Counter)

    @property
    def is_complete(self) -> bool:
        return self.accepted == self.told + self.ignored + self.held_back


def replay(app: Flask, discord: Discord, reports: Sequence[dict[str, Any]]) -> dict[str, Told]:
    """Report all to a source without and to one with policies and alerts, and dispatch as time passes."""
    client, channels = Client(app).sign_up("replay@example.com"), count(1)
    stories = {name: Story(client, name=name, domain=f"{name}.example.com") for name in ("without", "with")}
    webhooks = {
        (name, level): story.create_webhook(level, str(next(channels)))
        for name, story in stories.items()
        for level in POLICIES
    }
    for level, policy in POLICIES.items():
        assert client.put(f"/webhooks/{webhooks['with', level]}/policy", policy).status_code == 200
    for alert in ALERTS:
        stories["with"].create_alert(alert)
    clock = Clock(time_of(reports[0]))
    dispatcher = make_dispatcher(app.config, clock=clock, jitter=lambda: 0.5)
    try:
        with patch("app.ingestion.utcnow", clock), app.app_context():
            busy = 0
            for clock.now, batch in _steps(reports):
                for story in stories.values() if batch else ():
                    story.report_batch(*batch)
                busy = 2 if any(report["status"] >= 400 for report in batch) else busy - 1
                # Between whole minutes, nothing is due a step after the last event.
                if busy > 0 or clock.now.second < STEP.seconds:
                    dispatcher.run_until_idle()
    finally:
        dispatcher.pool.shutdown()
    accepted = sum(report["status"] >= 400 for report in reports)
    return {name: _told(app, discord, story, accepted) for name, story in stories.items()}


def _steps(reports: Sequence[dict[str, Any]]) -> Iterator[tuple[datetime, list[dict[str, Any]]]]:
    """Each step's end with the reports of its time, up to AFTERWARDS."""
    batch: list[dict[str, Any]] = []
    now = time_of(reports[0]) + STEP
    for report in reports:
        while time_of(report) > now:
            yield now, batch
            batch, now = [], now + STEP
        batch.append(report)
    yield now, batch
    for _ in range(AFTERWARDS // STEP):
        now += STEP
        yield now, []


def time_of(report: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(report["occurredAt"])


def _told(app: Flask, discord: Discord, story: Story, accepted: int) -> Told:
    told = Told(accepted)
    for webhook in json_of(story.client.get(f"/webhooks/{story.source_id}")):
        status = json_of(story.client.get(f"/webhooks/{webhook['id']}/status"))
        assert status["pending"] == 0, status
        told.ignored += status["ignored"]
        told.held_back += status["heldBack"]
        posted = discord.posted_to(f"channels/{webhook['value']}")
        told.told += sum(message.events for message in posted)
        told.pings += sum("roles" in message.body["allowed_mentions"] for message in posted)
    with app.app_context():
        of_source = select(Delivery.digest).join(Webhook).where(Webhook.traffic_source_id == story.source_id)
        told.messages.update(KINDS[type(loads(digest))] for digest in db.session.scalars(of_source))
    return told


def table(records: int, results: dict[str, Told]) -> str:
    without, policed = results["without"], results["with"]
    rows = [
        (f"events, of {records:,} requests", without.accepted, policed.accepted),
        *(
            (f"{name.replace('_', ' ')}", getattr(without, name), getattr(policed, name))
            for name in ("told", "ignored", "held_back")
        ),
        ("**messages**", without.messages.total(), policed.messages.total()),
        *((f"of these {kind}", without.messages[kind], policed.messages[kind]) for kind in KINDS.values()),
        ("that ping somebody", without.pings, policed.pings),
    ]
    lines = [f"| {name} | {before:,} | {after:,} |" for name, before, after in rows]
    return "\n".join(["| | without a policy | with policies and alerts |", "| --- | ---: | ---: |", *lines])


def main() -> int:
    discord = Discord(bot_token=secrets.token_urlsafe()).start()
    with tempfile.TemporaryDirectory(prefix="replay") as folder:
        settings = {
            "DATABASE_URL": f"sqlite:///{folder}/replay.sqlite3",
            "DISCORD_API_URL": discord.url,
            "DISCORD_BOT_TOKEN": discord.bot_token,
            "LOG_LEVEL": "ERROR",
        }
        app = create_app(settings, folder)
        init_migrations(app)
        with app.app_context():
            upgrade("migrations")
        reports = traffic()
        results = replay(app, discord, reports)
    discord.stop()
    print(table(len(reports), results))
    return 0 if all(told.is_complete for told in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
