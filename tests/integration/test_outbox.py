"""Claims: one message in flight per destination, taken up again when a dispatcher dies, fenced when it wakes."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from app.delivery.dispatcher import LEASE
from app.delivery.settling import settle_all
from app.digests import Recovery
from app.discord.outcome import Answer, Outcome
from app.extensions import db
from app.models import Delivery, Destination, Webhook
from app.models.columns import new_id, utcnow
from app.repositories import claims, due, incidents, outbox, settlements, webhooks
from tests.integration.helpers import write
from tools.story import CHANNEL, Story

WINDOW = timedelta(seconds=5)


def take_now(now, limit):
    """What a dispatcher with room for ``limit`` messages claims now."""
    chosen: dict[str, Any] = {}
    for candidate in due.scan(now).candidates:
        chosen.setdefault(candidate.destination_id, candidate)
    candidates = list(chosen.values())[:limit]
    claims.add_destinations_and_commit(candidates)
    return claims.claim(candidates, now, seconds=1.0).taken


@pytest.fixture
def claim(app):
    def take(now=None, limit=10):
        with app.app_context():
            claims = take_now(now or utcnow(), limit)
            db.session.commit()
            return claims

    return take


def test_what_is_claimed_cannot_be_claimed_again(story, claim):
    story.create_webhook()
    story.report()
    assert len(claim()) == 1
    story.report()
    assert claim(utcnow() + timedelta(minutes=1)) == []


def test_a_claim_that_was_not_committed_leaves_nothing_behind(app, story, claim):
    story.create_webhook()
    story.report()
    with app.app_context():
        assert take_now(utcnow(), 10)
        db.session.rollback()
    assert len(claim()) == 1


def test_what_may_not_be_sent_any_more_when_it_is_claimed_is_not(app, story, dispatch, clock):
    """Something changed between the look and the claim."""
    webhook_id = story.create_webhook()
    story.report()
    dispatch()
    story.report()
    clock.advance(6)
    with app.app_context():
        candidates = due.scan(clock()).candidates
        minute = {"paused_until": clock() + timedelta(minutes=1)}
        for change in (
            update(Destination).values(**minute),
            update(Destination).values(claim_token=new_id(), claimed_at=clock()),
            update(Webhook).values(state="suspended"),
            update(Delivery).values(state="delivered"),
        ):
            db.session.execute(change)
            assert claims.claim(candidates, clock(), seconds=1.0).taken == [], str(change)
            assert db.session.scalar(select(Destination.claim_token).where(Destination.claimed_at.is_(None))) is None
            db.session.rollback()
        assert [claim.webhook_id for claim in claims.claim(candidates, clock(), seconds=1.0).taken] == [webhook_id]
        db.session.rollback()


def test_a_report_and_a_change_wake_dispatchers_of_other_processes(app, story):
    """On SQLite, where nobody can, they look at the file."""
    webhook_id = story.create_webhook()
    if not is_postgresql(app):
        return
    url = app.config["SQLALCHEMY_DATABASE_URI"].set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {outbox.NOTIFY_CHANNEL}")
        for act in (story.report, lambda: story.client.put(f"/webhooks/{webhook_id}", {"value": "42"})):
            act()
            assert [notice.channel for notice in listener.notifies(timeout=5, stop_after=1)] == ["deliveries"]


def end_incident(webhook_id):
    db.session.execute(update(Delivery).values(state="delivered"))
    incidents.close(webhook_id, utcnow(), timedelta())
    assert db.session.get(Webhook, webhook_id).incident_since is None


HOLDERS = {
    "a claim": lambda claim: claims.claim(due.scan(utcnow() + timedelta(hours=1)).candidates, utcnow(), seconds=1.0),
    "a settlement": lambda claim: settlements.lock_valid([claim]),
    "the end of an incident": lambda claim: end_incident(claim.webhook_id),
    "a change": lambda claim: webhooks.get_locked(claim.webhook_id),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_report_waits_for_nobody_who_holds_its_webhook(app, story, claim, holder):
    """SQLite, which has one writer, is held for moments."""
    if not is_postgresql(app):
        return
    webhook_id = story.create_webhook()
    story.report()
    (held,) = claim()
    story.report()
    write(app, update(Webhook).values(incident_since=utcnow(), last_event_at=utcnow(), incident_events=2))
    with ThreadPoolExecutor(1) as pool, app.app_context():
        HOLDERS[holder](held)
        reported = pool.submit(story.report)
        try:
            assert reported.result(timeout=5)
        finally:
            db.session.rollback()
    assert story.client.get(f"/webhooks/{webhook_id}/status").json["pending"] == 3


def test_the_end_of_an_incident_is_left_to_who_notes_it_first(app, story, claim):
    """Another dispatcher was quicker. The incidents of other webhooks go on."""
    webhook_id, other_id = story.create_webhook(), story.create_webhook("warning")
    write(app, update(Webhook).values(incident_since=utcnow(), last_event_at=utcnow(), incident_events=2))
    with app.app_context():
        for _ in range(3):
            incidents.close(webhook_id, utcnow(), timedelta())
            db.session.commit()
        assert db.session.scalars(select(Delivery.event_count)).all() == [0]
        webhook = db.session.get(Webhook, webhook_id)
        assert (webhook.incident_since, webhook.incident_events) == (None, 0)
        assert db.session.get(Webhook, other_id).incident_events == 2


def test_claims_made_at_once_never_share_a_destination(app, ana, claim):
    for number in range(12):
        story = Story(ana, domain=f"app-{number}.example.com")
        story.create_webhook(value=str(number + 1))
        story.report()
    barrier = Barrier(4)

    def take(_):
        barrier.wait()
        return claim(limit=12)

    with ThreadPoolExecutor(4) as pool:
        claims = [claim for claims in pool.map(take, range(4)) for claim in claims]
    assert len({claim.destination_id for claim in claims}) == len(claims)
    assert len(claims) + len(claim(limit=12)) == 12


def test_many_webhooks_of_one_channel_keep_no_place_from_others(ana, claim):
    """In the order in which their events were reported, those of the shared channel first."""
    stories = [Story(ana, domain=f"app-{number}.example.com") for number in range(5)]
    for story, channel in zip(stories, "11123", strict=True):
        story.create_webhook(value=channel)
        story.report()
    assert sorted(claim.destination_id for claim in claim(limit=3)) == ["channels/1", "channels/2", "channels/3"]


def test_two_webhooks_of_one_channel_are_sent_one_after_the_other(story, claim):
    story.create_webhook("fatal")
    story.create_webhook("warning")
    story.report(status=500)
    story.report(status=404)
    assert [claim.level for claim in claim()] == ["fatal"]
    assert claim() == []


def test_a_dead_dispatchers_claim_is_taken_up_after_the_lease_under_the_same_nonce(
    app, story, claim, dispatch, discord, clock
):
    story.create_webhook()
    story.report()
    (lost,) = claim()
    clock.advance(LEASE.total_seconds() - 2)
    assert dispatch() == 0
    clock.advance(8)
    assert dispatch() == 1
    (message,) = discord.messages
    assert message.body["nonce"] == lost.nonce


def test_a_dispatcher_that_lost_its_claim_settles_nothing(app, story, claim, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    story.report()
    (lost,) = claim()
    clock.advance(LEASE.total_seconds() + 6)
    dispatch()
    counts: Counter[Any] = Counter()
    with app.app_context():
        settle_all([(lost, Answer(Outcome.DISCARD, "too late"))], clock(), WINDOW, lambda: 0.5, counts)
        db.session.commit()
    assert not counts
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert delivery["state"] == "delivered"
    assert delivery["lastError"] is None


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_answers_to_one_delivery_at_once_only_that_of_the_claim_in_force_counts(app, story, claim, clock, order):
    """A dispatcher that slept past its lease claimed the delivery again, and gets both answers."""
    webhook_id = story.create_webhook()
    story.report()
    (lost,) = claim()
    clock.advance(LEASE.total_seconds() + 6)
    with app.app_context():
        assert claims.release_stale(clock(), LEASE) == 1
        db.session.commit()
    (held,) = claim(clock())
    answers = [(held, Answer(Outcome.DELIVERED, status=200)), (lost, Answer(Outcome.RETRY, "x"))][::order]
    counts: Counter[Any] = Counter()
    with app.app_context():
        settle_all(answers, clock(), WINDOW, lambda: 0.5, counts)
        db.session.commit()
        assert db.session.get(Webhook, webhook_id).incident_events == 1
    assert counts["events", "delivered", 0] == 1
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert delivery["state"] == "delivered"


def test_what_is_under_way_without_a_destination_held_for_it_is_pending_again(app, story, claim, dispatch, discord):
    story.create_webhook()
    story.report()
    claim()
    write(app, update(Destination).values(claim_token=None, claimed_at=None))
    dispatch()
    assert len(discord.messages) == 1


def test_a_delivery_under_way_cannot_be_redelivered(story, claim):
    webhook_id = story.create_webhook()
    story.report()
    (held,) = claim()
    assert story.client.post(f"/deliveries/{held.delivery_id}/redeliver").status_code == 409
    assert story.client.get(f"/webhooks/{webhook_id}/status").json["pending"] == 1


def test_a_webhook_pointed_elsewhere_while_its_message_is_under_way_loses_nothing(
    app, story, claim, dispatch, discord, clock
):
    webhook_id = story.create_webhook()
    story.report()
    claim()
    story.client.put(f"/webhooks/{webhook_id}", {"value": "42"})
    clock.advance(LEASE.total_seconds() + 6)
    dispatch()
    assert [message.destination for message in discord.messages] == ["channels/42"]


def test_a_notice_waits_for_an_earlier_one_in_flight_to_the_address_before(app, story, claim):
    """The later one would be told first at the new address if the earlier one failed."""
    webhook_id = story.create_webhook()
    with app.app_context():
        for events in (2, 3):
            outbox.put(webhook_id, Recovery(events, 1, 2, 3), utcnow())
        db.session.commit()
    (earlier,) = claim()
    assert earlier.digest == Recovery(2, 1, 2, 3)
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": "42"}).status_code == 200
    assert claim() == []
    settle(app, earlier, Answer(Outcome.DELIVERED), utcnow())
    (later,) = claim(utcnow() + WINDOW)
    assert (later.digest, later.destination_id) == (Recovery(3, 1, 2, 3), "channels/42")


def test_a_database_that_is_away_at_settling_costs_no_answer(app, story, make_dispatchers, discord, monkeypatch):
    story.create_webhook()
    story.report()
    dispatcher = make_dispatchers()
    with app.app_context():
        dispatcher.work()
        dispatcher._receive(10)
        with monkeypatch.context() as patched:
            away = OperationalError("", {}, psycopg.OperationalError("no connection"))
            patched.setattr(settlements, "lock_valid", lambda *_, **__: raise_(away))
            assert dispatcher._safely("work", dispatcher.work) is None
        assert dispatcher._safely("work", dispatcher.work) == 0
    assert dispatcher.counts["attempts", "delivered", 200] == 1
    assert len(discord.messages) == 1
    (delivery,) = story.client.get(f"/webhooks/{story_webhook(story)}/deliveries").json["data"]
    assert delivery["state"] == "delivered"


def is_postgresql(app):
    return app.config["SQLALCHEMY_DATABASE_URI"].get_backend_name() == "postgresql"


def story_webhook(story):
    return story.client.get(f"/webhooks/{story.source_id}").json[0]["id"]


def raise_(error):
    raise error


def test_an_answer_to_a_lost_claim_leaves_the_next_claim_as_it_is(app, story, claim, dispatch, discord, clock):
    """Another dispatcher is sending the message: it alone settles it, and frees the destination."""
    webhook_id = story.create_webhook()
    story.report()
    (lost,) = claim()
    clock.advance(LEASE.total_seconds() + 1)
    with app.app_context():
        assert claims.release_stale(clock(), LEASE) == 1
        db.session.commit()
    (held,) = claim(clock())
    assert held.token != lost.token
    for outcome in (Outcome.DELIVERED, Outcome.DISCARD, Outcome.RETRY, Outcome.SUSPEND):
        settle(app, lost, Answer(outcome, "too late", retry_after=9.0), clock())
        with app.app_context():
            delivery, destination = (
                db.session.get(Delivery, held.delivery_id),
                db.session.scalars(select(Destination)).one(),
            )
            assert (delivery.state, delivery.claim_token, delivery.last_error) == ("delivering", held.token, None)
            assert (destination.claim_token, destination.paused_until) == (held.token, None)
            assert db.session.get(Webhook, webhook_id).incident_events == 0
    settle(app, held, Answer(Outcome.DELIVERED, status=200), clock())
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 2)


def test_what_is_written_of_a_claim_names_it_even_where_it_was_thought_to_be_valid(app, story, claim, clock):
    story.create_webhook()
    story.report()
    (held,) = claim()
    stolen = replace(held, token=new_id())
    outcome = Answer(Outcome.DISCARD, "no")
    settlement = settlements.Settlement(stolen, outcome, "discarded", None, 1, None, "no", None)
    with app.app_context():
        settlements.write(
            [settlement], settlements.ValidClaims({stolen.delivery_id: stolen.token}, set()), clock(), WINDOW
        )
        db.session.commit()
        assert db.session.get(Delivery, held.delivery_id).state == "delivering"
        assert db.session.scalars(select(Destination.claim_token)).one() == held.token


def test_a_success_hurries_what_failed_there_and_not_what_a_limit_holds_back(app, story, dispatch, discord, clock):
    for level, code in [("fatal", 500), ("warning", 404), ("info", 200)]:
        story.create_webhook(level)
        story.report(status=code)
    with app.app_context():
        failed, limited, _ = db.session.scalars(select(Delivery.id).order_by(Delivery.id)).all()
        for delivery_id, attempts in ((failed, 5), (limited, 0)):
            waits = {"nonce": f"n{attempts}", "attempts": attempts, "next_attempt_at": clock() + timedelta(seconds=60)}
            db.session.execute(update(Delivery).where(Delivery.id == delivery_id).values(waits))
        db.session.add(Destination(id=f"channels/{CHANNEL}", paused_until=clock() - timedelta(seconds=1)))
        db.session.commit()
    dispatch()
    assert [message.body["nonce"] for message in discord.messages[1:]] == ["n5"]
    clock.advance(61)
    dispatch()
    assert [message.body["nonce"] for message in discord.messages[1:]] == ["n5", "n0"]


def settle(app, claim, outcome, now):
    with app.app_context():
        settle_all([(claim, outcome)], now, WINDOW, lambda: 0.5, Counter())
        db.session.commit()


def test_dispatchers_that_send_a_channel_s_first_message_do_not_wait_for_each_other(app, story, ana, claim):
    """One of them stopped while it claims, as a suspended host does."""
    if not is_postgresql(app):
        return
    story.create_webhook()
    story.report()
    with app.app_context():
        assert len(take_now(utcnow(), 10)) == 1
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(claim)
            try:
                assert other.result(timeout=5) == []
            finally:
                db.session.rollback()
    assert len(claim()) == 1


def test_a_webhook_that_moved_to_another_s_channel_since_the_scan_waits_for_the_other_s_message(app, ana, story, clock):
    moved = story.create_webhook(value="1")
    other = Story(ana, domain="other.example.com")
    other.create_webhook(value="2")
    story.report()
    other.report()
    with app.app_context():
        candidates = due.scan(clock()).candidates
        db.session.commit()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(ana.put, f"/webhooks/{moved}", {"value": "2"}).result().status_code == 200
        claims.add_destinations_and_commit(candidates)
        taken = claims.claim(candidates, clock(), seconds=1.0).taken
        db.session.commit()
    assert [claim.destination_id for claim in taken] == ["channels/2"]
