"""Hosts may disagree about the time: what is shared goes by the database's clock."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from sqlalchemy import select, text

from app.cli import make_dispatcher
from app.extensions import db
from app.models import Destination, DispatcherHeartbeat
from app.models.columns import utcnow
from app.repositories import clock as clocks
from tests.conftest import JWT_SECRET_KEY
from tests.integration.helpers import refused
from tools.story import Client

AHEAD = timedelta(minutes=2)


@pytest.fixture
def wrong_host(database_url, monkeypatch):
    """A host whose own clock is two minutes ahead of the database's."""
    if database_url.startswith("sqlite"):
        pytest.skip("a SQLite file and its processes have one clock")
    monkeypatch.setattr(clocks, "utcnow", lambda: utcnow() + AHEAD)


def now_in(database) -> datetime:
    return database.session.scalar(text("SELECT clock_timestamp()")).astimezone(UTC)


def test_leases_and_heartbeats_are_written_by_the_databases_clock(app, wrong_host, story, discord):
    story.create_webhook()
    story.report()
    dispatcher = make_dispatcher(app.config)
    with app.app_context():
        dispatcher.work()
        claimed_at = db.session.scalar(select(Destination.claimed_at))
        seen_at = db.session.scalar(select(DispatcherHeartbeat.seen_at))
        now = now_in(db)
        dispatcher._receive(10)
        dispatcher._settle()
    dispatcher.pool.shutdown()
    for moment in (claimed_at, seen_at):
        assert timedelta(seconds=-1) < now - moment < timedelta(seconds=20)


def test_the_clock_goes_on_without_asking_the_database_and_is_set_by_it(app, monkeypatch):
    with app.app_context():
        clock = clocks.DatabaseClock()
        first = clock()
        monkeypatch.setattr(clocks, "database_now", lambda: first + timedelta(hours=1))
        assert first <= clock() < first + timedelta(minutes=1)
        clock.synchronise()
        assert clock() >= first + timedelta(hours=1)


def test_what_a_host_ahead_reports_is_told_at_once(story, app, dispatch, discord, monkeypatch):
    story.create_webhook()
    monkeypatch.setattr("app.ingestion.utcnow", lambda: utcnow() + AHEAD)
    story.report()
    story.report_batch(
        *[
            {"domainUrl": "https://a.example", "pathnameUrl": "/", "status": 500, "protocol": "https"} | x
            for x in [{"method": "get", "elapsedTime": 1}] * 2
        ]
    )
    dispatch()
    assert [message.events for message in discord.messages] == [3]


def token(app, ana, **claims) -> Client:
    known = jwt.decode(ana.token, JWT_SECRET_KEY, algorithms=["HS256"])
    return Client(app, jwt.encode(known | claims, JWT_SECRET_KEY, algorithm="HS256"))


@pytest.mark.parametrize(("seconds", "code"), [(1, 200), (120, 200), (1_000, 401)])
def test_a_token_of_a_host_that_is_ahead_is_taken(app, ana, seconds, code):
    moment = int((utcnow() + timedelta(seconds=seconds)).timestamp())
    assert token(app, ana, iat=moment, nbf=moment).get("/user").status_code == code


def test_leeway_lets_no_token_live_longer(app, ana):
    refused(token(app, ana, exp=int(utcnow().timestamp()) - 1).get("/user"), 401)


def test_a_revocation_outlives_the_token_by_a_day(app, ana, bob):
    """Another host, whose clock is behind, would else take it for valid again."""
    late = token(app, ana, exp=int(utcnow().timestamp()) + 2)
    assert late.post("/user/logout").status_code == 204
    assert bob.post("/user/logout").status_code == 204
    refused(late.get("/user"), 401)
    with app.app_context():
        assert db.session.scalar(text("SELECT count(*) FROM revoked_tokens")) == 2
