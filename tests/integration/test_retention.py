"""What is forgotten with time, and what is not."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.extensions import db
from app.models import Delivery, DeliveryAttempt, TrafficRecord
from app.models.columns import utcnow
from tests.support import in_days

DAY = 86_400


@pytest.fixture
def count(app):
    def rows(model):
        with app.app_context():
            return db.session.scalar(select(func.count()).select_from(model))

    return rows


def test_the_dispatcher_purges_old_records_and_keeps_the_history_of_deliveries_longer(story, dispatch, clock, count):
    story.create_webhook()
    story.report()
    dispatch()
    clock.advance(13 * DAY)
    dispatch()
    assert count(TrafficRecord) == 1
    clock.advance(2 * DAY)
    dispatch()
    assert count(TrafficRecord) == 0
    assert count(Delivery) > 0
    clock.advance(31 * DAY)
    dispatch()
    clock.advance(31 * DAY)
    dispatch()
    assert count(Delivery) == count(DeliveryAttempt) == 0


def test_what_is_pending_is_never_purged(story, dispatch, discord, clock, count):
    webhook_id = story.create_webhook()
    assert story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(89)}).status_code == 200
    story.report()
    clock.advance(60 * DAY)
    dispatch()
    assert count(Delivery) == 1
    clock.advance(30 * DAY)
    dispatch()
    assert [message.events for message in discord.messages] == [1]


def test_the_purge_command_deletes_all_that_is_past_its_retention_and_shows_its_progress(
    app, story, dispatch, monkeypatch, count
):
    monkeypatch.setattr("app.repositories.purging.BATCH_SIZE", 2)
    story.create_webhook()
    for _ in range(5):
        story.report()
    dispatch()
    monkeypatch.setattr("app.cli.utcnow", lambda: utcnow() + timedelta(days=40))
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0
    assert "Purging" in result.output
    assert count(TrafficRecord) == count(Delivery) == 0


def test_the_purge_command_leaves_what_is_recent(app, story, dispatch, count):
    story.create_webhook()
    story.report()
    dispatch()
    assert app.test_cli_runner().invoke(args=["purge"]).exit_code == 0
    assert count(TrafficRecord) == count(Delivery) == 1
