"""What one user, webhook, record or address does harms no other: the dispatcher sets trouble aside, and goes on."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, event, insert, select, text, update

from app.cli import make_dispatcher
from app.delivery.retry import DELAYS_SECONDS
from app.delivery.troubles import Troubles
from app.digests import Digest, Recovery
from app.digests import Event as Reported
from app.extensions import db
from app.models import Delivery, Destination, DiscordLimit, RefusalCount, Webhook
from app.models.columns import NO_ID, Identifier, UTCDateTime, new_id, utcnow
from app.repositories import base, claims, deliveries, discord_limits, due, outbox, settlements
from tests.integration.helpers import at_once, refused, write
from tests.support import in_days
from tools.fake_discord import Fault
from tools.story import WEBHOOK_URL, Story, record

# Far less than whoever waited for the lock would wait, and room for a slow machine.
AT_ONCE_SECONDS = 5.0


@pytest.fixture
def neighbour(bob):
    """Somebody else's source, with a webhook on another channel."""
    story = Story(bob, domain="bob.example.com")
    story.create_webhook(value="2")
    return story


def is_postgresql(app) -> bool:
    return app.config["SQLALCHEMY_DATABASE_URI"].get_backend_name() == "postgresql"


def gather(app, webhook_id: str, count: int, kinds: int = 100) -> None:
    """As if ``count`` single reports had come while nothing could be sent."""
    now = utcnow()
    rows = [
        {
            "webhook_id": webhook_id,
            "state": "pending",
            "digest": Digest.of([Reported("get", "a.example", f"/p-{number % kinds}x", 500, 1, 5.0, new_id())]).dumps(),
            "next_attempt_at": now,
            "created_at": now,
        }
        for number in range(count)
    ]
    with app.app_context():
        db.session.execute(insert(Delivery), rows)
        db.session.commit()


LIMITED = Fault(status=429, body={"retry_after": 30.0})

# What a dispatcher reads, column by column, and what would break a careless one.
POISON = [
    ("deliveries", "digest", "'{'"),
    ("deliveries", "digest", "'[]'"),
    ("deliveries", "digest", "'null'"),
    ("deliveries", "digest", "'{\"groups\": [{}]}'"),
    ("deliveries", "digest", "'{\"groups\": [5]}'"),
    ("deliveries", "digest", "'{\"groups\": []}'"),
    ("deliveries", "digest", '\'{"events": "x", "began_at": 1, "ended_at": null}\''),
    ("deliveries", "digest", "''"),
    ("deliveries", "nonce", "'not-ours'"),
    ("deliveries", "attempts", "2147483647"),
    ("deliveries", "attempts", "-2147483648"),
    ("deliveries", "event_count", "9223372036854775807"),
    ("deliveries", "next_attempt_at", "FAR"),
    ("deliveries", "created_at", "FAR"),
    ("deliveries", "claim_token", "NULL"),
    ("webhooks", "value_template", "'nonsense'"),
    ("webhooks", "value_template", "''"),
    ("webhooks", "token", "'no-fernet-token'"),
    ("webhooks", "token", "'é'"),
    ("webhooks", "incident_events", "9223372036854775807"),
    ("webhooks", "incident_since", "FAR"),
    ("webhooks", "last_event_at", "FAR"),
    ("webhooks", "next_message_at", "FAR"),
    ("webhooks", "muted_until", "FAR"),
    ("webhooks", "last_delivered_at", "FAR"),
    ("webhooks", "threshold_events", "2147483647"),
    ("webhooks", "threshold_events", "-2147483648"),
    ("webhooks", "threshold_events = 3, threshold_seconds", "NULL"),
    ("webhooks", "threshold_events = 3, threshold_seconds", "2147483647"),
    ("webhooks", "threshold_events = 3, threshold_seconds", "-2147483648"),
    ("webhooks", "remind_after_seconds = 60, next_reminder_at", "FAR"),
    ("webhooks", "next_reminder_at = created_at, remind_after_seconds", "2147483647"),
    ("webhooks", "next_reminder_at = created_at, remind_after_seconds", "-2147483648"),
    ("webhooks", "ignored_told", "9223372036854775807"),
    ("webhooks", "ignored_told", "-9223372036854775808"),
    ("webhooks", "ignored_told_at", "FAR"),
    ("webhooks", "mention_role_id", "'@everyone'"),
    ("destinations", "paused_until", "FAR"),
    ("destinations", "claimed_at", "FAR"),
    ("traffic_sources", "name", "''"),
]
FAR = {
    "postgresql": ["'infinity'", "'-infinity'", "'294276-01-01'"],
    "sqlite": ["'9999-12-31 23:59:59.999999'", "'soon'"],
}


@pytest.mark.parametrize(("table", "column", "value"), POISON)
def test_whatever_stands_in_one_row_all_others_go_on(
    app, story, neighbour, dispatch, discord, clock, table, column, value
):
    """Poisoned before the first message, and again while there is an incident to be closed."""
    story.create_webhook(value="1")
    ours = {
        "deliveries": "webhook_id = (SELECT id FROM webhooks WHERE destination_id = 'channels/1')",
        "webhooks": "destination_id = 'channels/1'",
        "destinations": "id = 'channels/1'",
        "traffic_sources": "traffic_domain = 'api.payments.com'",
    }
    database = "postgresql" if is_postgresql(app) else "sqlite"
    for poison in FAR[database] if value == "FAR" else [value]:
        for round_number in range(3):
            story.report_batch(record(), record())
            neighbour.report()
            write(app, text(f"UPDATE {table} SET {column} = {poison} WHERE {ours[table]}"))
            clock.advance(6)
            dispatch()
            assert len(discord.posted_to("channels/2")) == round_number + 1, poison
            clock.advance(400)
            dispatch()
        discord.reset()


@pytest.mark.parametrize("number", range(3))
def test_gathered_events_of_no_time_are_told_with_those_that_reach_the_threshold(
    app, story, neighbour, dispatch, discord, number
):
    webhook_id = story.create_webhook(value="1")
    policy = {"threshold": {"events": 3, "seconds": 60}}
    assert story.client.put(f"/webhooks/{webhook_id}/policy", policy).status_code == 200
    story.report_batch(record(), record())
    far = FAR["postgresql" if is_postgresql(app) else "sqlite"]
    write(app, text(f"UPDATE deliveries SET created_at = {far[number % len(far)]}"))
    neighbour.report()
    dispatch()
    assert len(discord.posted_to("channels/2")) == 1
    story.report()
    dispatch()
    assert len(discord.posted_to("channels/1")) == 1


def test_a_delivery_that_cannot_be_read_is_put_off_and_at_last_discarded_with_a_reason(
    app, story, dispatch, discord, clock
):
    webhook_id = story.create_webhook()
    story.report()
    write(app, update(Delivery).values(digest="{"))
    dispatch()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert (delivery["state"], delivery["attempts"]) == ("pending", 1)
    assert "cannot be read" in delivery["lastError"]
    clock.advance(DELAYS_SECONDS[0] - 1)
    dispatch()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert delivery["attempts"] == 1
    for _ in range(40):
        clock.advance(4000)
        dispatch()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert delivery["state"] == "discarded"
    assert "cannot be read" in delivery["lastError"]
    story.report()
    dispatch()
    assert len(discord.messages) == 1


def test_what_cannot_be_read_is_not_merged_and_costs_nothing_that_can(app, story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    for _ in range(20):
        story.report()
    with app.app_context():
        ids = db.session.scalars(select(Delivery.id).order_by(Delivery.id)).all()
    write(app, update(Delivery).where(Delivery.id == ids[2]).values(digest="{"))
    dispatch()
    assert [message.events for message in discord.messages] == [19]
    with app.app_context():
        unread = db.session.get(Delivery, ids[2])
        assert unread.nonce is not None, "a message of its own from now on"
        assert unread.event_count == 1
    assert story.client.get(f"/webhooks/{webhook_id}/status").json["pending"] == 1


def test_a_failing_claim_is_set_aside_loudly_and_the_others_go_on(
    app, story, neighbour, dispatch, discord, clock, monkeypatch, caplog, client
):
    webhook_id = story.create_webhook(value="1")
    story.report()
    neighbour.report()
    claim_delivery = claims._claim_delivery

    def failing(claims, head, *rest):
        if head.webhook_id == webhook_id:
            db.session.execute(text("SELECT * FROM no_such_column_anywhere"))
        claim_delivery(claims, head, *rest)

    with monkeypatch.context() as patched:
        # An error that concerns one row, though it comes from the database.
        patched.setattr("app.delivery.troubles.reason", lambda _: None)
        patched.setattr("app.delivery.dispatcher.reason", lambda _: None)
        patched.setattr(claims, "_claim_delivery", failing)
        dispatch()
        assert [message.destination for message in discord.messages] == ["channels/2"]
        dispatch()
    assert f"Webhook {webhook_id} is set aside" in caplog.text
    ready = client.get("/readyz").json
    assert webhook_id in str(ready["alarms"])
    assert "\narkyn_set_aside 1.0\n" in client.get("/metrics").text
    assert len(discord.messages) == 1


def test_nothing_is_kept_of_what_failed(app, story):
    webhook_id, troubles = story.create_webhook(), Troubles()
    with app.app_context():
        with troubles.of(webhook_id, "A webhook"):
            db.session.execute(update(Webhook).values(state="suspended"))
            raise ValueError
        db.session.commit()
        assert troubles.has(webhook_id)
        assert db.session.scalar(select(Webhook.state)) == "active"
        with troubles.of(webhook_id, "A webhook"):
            pass
        assert not troubles.has(webhook_id)


def test_a_failing_settlement_costs_the_others_nothing(
    app, story, neighbour, make_dispatchers, discord, clock, monkeypatch
):
    story.create_webhook(value="1")
    story.report()
    neighbour.report()
    real = settlements._webhook
    broken = []

    def failing(settlement, now, window):
        if settlement.claim.destination_id == "channels/1":
            broken.append(1)
            raise ValueError
        return real(settlement, now, window)

    monkeypatch.setattr(settlements, "_webhook", failing)
    dispatcher = make_dispatchers()
    with app.app_context():
        dispatcher.run_until_idle()
        states = dict(db.session.execute(select(Webhook.destination_id, Delivery.state).join(Delivery)).all())
    assert states == {"channels/1": "delivering", "channels/2": "delivered"}
    assert broken


@pytest.mark.parametrize("step", ["release_stale", "purge_records", "close_incidents", "beat", "commit_counts"])
def test_a_failing_step_of_upkeep_stops_neither_the_others_nor_sending(
    app, story, make_dispatchers, discord, monkeypatch, step
):
    story.create_webhook()
    story.report()
    dispatcher = make_dispatchers()

    def fail(*_):
        raise ValueError("canary-secret")

    fail.__name__ = step
    if step == "purge_records":
        monkeypatch.setattr("app.repositories.purging.purge_records", fail)
    else:
        owner = dispatcher.upkeep if step == "close_incidents" else dispatcher
        monkeypatch.setattr(owner, f"_{step}", fail)
    with app.app_context():
        dispatcher.run_until_idle()
    assert len(discord.messages) == 1
    assert dispatcher.troubles.has(step)
    assert "canary-secret" not in dispatcher.troubles.last


def test_a_mute_until_the_end_of_time_is_refused_and_stops_nobody(app, make_app, story, neighbour, discord, dispatch):
    """On a PostgreSQL whose time zone is east of UTC, such a time could not be read back."""
    webhook_id = story.create_webhook(value="1")
    for until in ("9999-12-31T23:59:59Z", in_days(91)):
        refused(story.client.post(f"/webhooks/{webhook_id}/mute", {"until": until}), 400)
    assert story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(89.9)}).status_code == 200
    with app.app_context():
        if is_postgresql(app):
            assert db.session.scalar(text("SHOW timezone")) == "UTC"
    neighbour.report()
    dispatch()
    assert len(discord.messages) == 1


def test_counters_go_beyond_32_bits(app, story, dispatch, discord, clock):
    webhook_id = story.create_webhook("info")
    story.report(status=200)
    dispatch()
    write(app, update(Webhook).values(incident_events=2**31 - 1))
    write(app, update(Delivery).values(event_count=2**31 - 1))
    clock.advance(10)
    story.report(status=200)
    dispatch()
    assert len(discord.messages) == 2
    with app.app_context():
        assert db.session.get(Webhook, webhook_id).incident_events == 2**31


@pytest.mark.parametrize("level", ["fatal", "warning", "info"])
def test_an_incident_of_any_level_ends(app, story, dispatch, clock, level):
    webhook_id = story.create_webhook(level)
    story.report(status={"fatal": 500, "warning": 404, "info": 200}[level])
    dispatch()
    with app.app_context():
        assert db.session.get(Webhook, webhook_id).incident_events == 1
    clock.advance(400)
    dispatch()
    with app.app_context():
        assert db.session.get(Webhook, webhook_id).incident_events == 0


def test_one_event_is_not_told_to_be_over(story, dispatch, discord, clock):
    story.create_webhook()
    story.report()
    dispatch()
    clock.advance(1000)
    dispatch()
    assert len(discord.messages) == 1


def test_a_backlog_of_one_webhook_is_merged_in_bites_that_hold_nobody_up(
    app, story, neighbour, make_dispatchers, discord, bob
):
    webhook_id = story.create_webhook(value="1")
    gather(app, webhook_id, 8_000)
    dispatcher = make_dispatchers()
    rounds = 0
    with app.app_context():
        neighbour.report()
        dispatcher.work()
        assert webhook_id in dispatcher.unmerged
        while dispatcher.unmerged or dispatcher.in_flight:
            dispatcher.work()
            rounds += 1
            while dispatcher.in_flight:
                dispatcher._receive(10)
            if rounds == 2:
                assert len(discord.posted_to("channels/2")) == 1
        dispatcher.run_until_idle()
    assert rounds > 2
    (message,) = discord.posted_to("channels/1")
    assert message.events == 8_000
    assert "more in 90 groups" in message.body["content"]


def test_a_backlog_is_told_as_soon_as_it_is_merged(app, story, make_dispatchers, discord, monkeypatch):
    """Though the claim had no time to merge even two deliveries."""
    monkeypatch.setattr("app.delivery.dispatcher.MERGE_SECONDS", -1.0)
    story.create_webhook()
    for _ in range(6):
        story.report()
    dispatcher = make_dispatchers()
    with app.app_context():
        for _ in range(6):
            assert dispatcher._work_and_rest() == 0.0
            if dispatcher.in_flight:
                break
            assert dispatcher._until_next() == 0.0
        dispatcher._receive(10)
    assert [message.events for message in discord.messages] == [6]


def test_a_webhook_on_a_busy_channel_is_made_without_waiting_for_a_claim(app, story, bob):
    """A dispatcher claims the destination, and has not committed yet."""
    story.create_webhook(value="1")
    story.report()
    other = Story(bob, domain="bob.example.com")
    claimed, made = Event(), Event()

    def hold() -> None:
        with app.app_context():
            candidates = due.scan(utcnow()).candidates
            claims.add_destinations_and_commit(candidates)
            claims.claim(candidates, utcnow(), seconds=1.0)
            claimed.set()
            made.wait(timeout=20)
            db.session.rollback()

    if not is_postgresql(app):
        pytest.skip("SQLite has one writer")
    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        claimed.wait(timeout=20)
        began = monotonic()
        other.create_webhook(value="1")
        other.report()
        took = monotonic() - began
        made.set()
        holding.result()
    assert took < AT_ONCE_SECONDS


def test_a_look_does_not_depend_on_how_much_a_webhook_gathered(app, story, neighbour):
    """The plan probes each waiting webhook; it reads no queue."""
    gather(app, story.create_webhook(value="1"), 3_000)
    neighbour.report()
    with app.app_context():
        db.session.add(Destination(id="channels/1", claim_token=new_id()))
        db.session.flush()
        found = due.scan(utcnow())
        assert [candidate.destination_id for candidate in found.candidates] == ["channels/2"]
        parameters = {"after": NO_ID, "most": 1000, "user_budget": 100, "newest": 200, "most_held": 100}
        parameters |= {**dict.fromkeys(due._TIMES, utcnow()), "cannot_be_read": ""}
        types: list[Any] = [bindparam("after", type_=Identifier)]
        types += [bindparam(name, type_=UTCDateTime) for name in due._TIMES]
        base.plan_afresh()
        explain = "EXPLAIN (FORMAT JSON) " if is_postgresql(app) else "EXPLAIN QUERY PLAN "
        rows = db.session.execute(text(explain + due.SCAN).bindparams(*types), parameters)
        plan = "\n".join(str(value) for row in rows for value in row)
        db.session.rollback()
    assert "ix_deliveries_" in plan
    assert not re.search("Seq Scan'.{0,90}'(deliveries|webhooks|destinations|traffic_sources)'", plan)
    assert not re.search("SCAN deliveries(?! USING INDEX)", plan)


def notices_behind(app, webhook_id: str, gathered: int, notices: int = 20) -> None:
    """Nothing but so many gathered events and, behind them, notices of which the first is not due yet."""
    write(app, delete(Delivery))
    gather(app, webhook_id, gathered)
    with app.app_context():
        for number in range(notices):
            outbox.put(webhook_id, Recovery(2, 1, 2, 3), utcnow() + timedelta(minutes=0 if number else 5))
        db.session.commit()
    if is_postgresql(app):
        # As autovacuum does: otherwise the plan is made for what other tests left.
        write(app, text("ANALYZE deliveries"))


def effort(app, look: Callable[[], Any]) -> int:
    """Rows of deliveries that PostgreSQL reads for ``look``, or steps of SQLite's machine."""
    steps: list[int] = []
    asked: list[Any] = []
    with app.app_context():
        if not is_postgresql(app):
            driver: Any = db.session.connection().connection.driver_connection
            driver.set_progress_handler(lambda: steps.append(1), 10)
            look()
            driver.set_progress_handler(None, 0)
            db.session.rollback()
            return len(steps)
        listener = db.engine, "before_cursor_execute", lambda *given: asked.append(given[2:4])
        event.listen(*listener)
        look()
        event.remove(*listener)
        plans = [plan_as_json(*each) for each in asked if "deliveries" in each[0]]
        db.session.rollback()
        return sum(map(rows_read, plans))


def plan_as_json(sql: str, parameters: Any) -> dict[str, Any]:
    explained = db.session.connection().exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
    return explained.scalar_one()[0]["Plan"]


def rows_read(node: dict[str, Any]) -> int:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    own = (node["Actual Rows"] + removed) * node["Actual Loops"] if node.get("Relation Name") == "deliveries" else 0
    return own + sum(map(rows_read, node.get("Plans", [])))


@pytest.mark.parametrize(
    "look",
    [lambda: due.scan(utcnow()), lambda: settlements._retry_now(["channels/1"], utcnow())],
    ids=["scan", "success"],
)
def test_notices_are_found_without_a_look_at_what_gathered_before_them(app, story, look):
    """Though nothing of it may be sent: neither the events, nor the notices, since the first of them waits."""
    webhook_id = story.create_webhook(value="1")
    policy = {"threshold": {"events": 100, "seconds": 3600}}
    assert story.client.put(f"/webhooks/{webhook_id}/policy", policy).status_code == 200
    notices_behind(app, webhook_id, 200)
    with_few = effort(app, look)
    notices_behind(app, webhook_id, 3_000)
    assert effort(app, look) < 1.5 * with_few + 50


def test_how_long_messages_are_due_is_read_in_one_pass_whatever_notices_wait(app, story):
    webhook_id = story.create_webhook(value="1")
    notices_behind(app, webhook_id, 3_000, notices=0)
    alone = effort(app, lambda: deliveries.longest_due(utcnow()))
    notices_behind(app, webhook_id, 3_000)
    assert effort(app, lambda: deliveries.longest_due(utcnow())) < 2 * alone


def test_many_waiting_webhooks_are_looked_at_in_turn(app, story, bob, monkeypatch, dispatch, discord):
    monkeypatch.setattr(due, "MAX_SCANNED_WEBHOOKS", 2)
    for number in range(7):
        each = Story(bob, domain=f"{number}.example.com")
        each.create_webhook(value=str(number + 1))
        each.report()
    assert dispatch() == 7
    assert len(discord.messages) == 7


@pytest.mark.parametrize("what", ["webhooks", "traffic-sources"])
def test_deleting_while_a_message_is_in_flight_frees_the_channel_at_once(
    app, story, bob, make_dispatchers, discord, what
):
    webhook_id = story.create_webhook(value="1")
    story.report()
    other = Story(bob, domain="bob.example.com")
    other.create_webhook(value="1")
    dispatcher = make_dispatchers()
    with app.app_context():
        assert dispatcher.work() == 1
        deleted = webhook_id if what == "webhooks" else story.source_id
        assert story.client.delete(f"/{what}/{deleted}").status_code == 204
        other.report()
        dispatcher._receive(10)
        dispatcher.run_until_idle()
        assert db.session.scalar(select(Destination.claim_token)) is None
    assert len(discord.posted_to("channels/1")) == 2


def test_an_answer_frees_its_destination_even_where_the_claim_was_lost(app, story, make_dispatchers, discord):
    story.create_webhook(value="1")
    story.report()
    dispatcher = make_dispatchers()
    with app.app_context():
        dispatcher.work()
        db.session.execute(update(Delivery).values(state="pending", claim_token=None))
        db.session.commit()
        dispatcher._receive(10)
        dispatcher._settle()
        assert db.session.scalar(select(Destination.claim_token)) is None


@pytest.mark.parametrize("fault", [Fault(status=404), Fault(status=500), Fault(status=400), LIMITED])
def test_what_the_old_address_answers_does_not_concern_the_new_one(app, story, make_dispatchers, discord, clock, fault):
    webhook_id = story.create_webhook(value="1")
    story.report()
    discord.fail(fault, destination="channels/1")
    dispatcher = make_dispatchers()
    with app.app_context():
        dispatcher.work()
        dispatcher._receive(10)
        assert story.client.put(f"/webhooks/{webhook_id}", {"value": "42"}).status_code == 200
        dispatcher.run_until_idle()
    assert [message.destination for message in discord.messages] == ["channels/42"]
    told = story.client.get(f"/webhooks/{webhook_id}/status").json
    assert (told["state"], told["pending"], told["lastError"]) == ("active", 0, None)


def test_a_retry_comes_when_it_is_due_and_not_after_the_digest_window(story, discord, app, clock):
    """With a window of 40 s, one 429 that says one second."""
    story.create_webhook()
    story.report()
    discord.fail(Fault(status=429, body={"retry_after": 1.0}))
    dispatcher = make_dispatcher(app.config | {"DIGEST_WINDOW_SECONDS": 40}, clock=clock, jitter=lambda: 0.5)
    with app.app_context():
        assert dispatcher.run_until_idle() == 1
        clock.advance(1.5)
        assert dispatcher.run_until_idle() == 1
        assert len(discord.messages) == 1
        story.report()
        clock.advance(38)
        assert dispatcher.run_until_idle() == 0, "the window begins when a message was delivered"
        clock.advance(3)
        assert dispatcher.run_until_idle() == 1
    dispatcher.pool.shutdown()


@pytest.mark.parametrize(
    ("model", "column", "days"),
    [
        (Webhook, "next_message_at", 1),
        (Webhook, "muted_until", 100),
        (Destination, "paused_until", 2),
        (DiscordLimit, "paused_until", 2),
        (Delivery, "next_attempt_at", 2),
    ],
)
def test_a_wait_that_ends_later_than_it_can_is_over(app, story, dispatch, discord, model, column, days):
    """A clock that was ahead wrote it, and was set right."""
    story.create_webhook()
    story.report()
    values = {column: utcnow() + timedelta(days=days)}
    if model is DiscordLimit:
        limit = insert(DiscordLimit).values(kind="channels", invalid_requests=0, invalid_since=utcnow(), **values)
        write(app, limit)
    else:
        write(app, update(model).values(values | ({"nonce": "n"} if model is Delivery else {})))
    dispatch()
    assert len(discord.messages) == 1


def test_a_claim_from_the_future_is_stale(app, story, dispatch, discord):
    story.create_webhook()
    story.report()
    write(app, update(Destination).values(claim_token=new_id(), claimed_at=utcnow() + timedelta(minutes=2)))
    dispatch()
    assert len(discord.messages) == 1


def test_ten_test_messages_a_minute_are_sent_and_no_more(story, discord):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    answers = [story.client.post(f"/webhooks/{webhook_id}/test") for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    assert answers[-1].headers["Retry-After"]
    assert len(discord.messages) == 10


def test_no_test_message_is_sent_once_discords_ban_comes_near(app, story, discord):
    webhook_id = story.create_webhook()
    near = insert(DiscordLimit).values(
        kind="channels", invalid_requests=discord_limits.TEST_BUDGET, invalid_since=utcnow()
    )
    write(app, near)
    assert "refused so many" in refused(story.client.post(f"/webhooks/{webhook_id}/test"), 429)["message"]
    write(app, update(DiscordLimit).values(invalid_since=utcnow() - timedelta(minutes=11)))
    assert story.client.post(f"/webhooks/{webhook_id}/test").status_code == 200
    assert len(discord.messages) == 1


@pytest.mark.parametrize("reason", ["Discord refused the bot token.", None])
def test_no_test_message_is_sent_to_a_kind_that_is_paused(app, story, discord, reason):
    webhook_id = story.create_webhook()
    pause = {"paused_until": utcnow() + timedelta(seconds=50), "reason": reason}
    write(app, insert(DiscordLimit).values(kind="channels", invalid_requests=0, invalid_since=utcnow(), **pause))
    answer = story.client.post(f"/webhooks/{webhook_id}/test")
    assert (reason or "limit") in refused(answer, 429)["message"]
    assert 40 <= int(answer.headers["Retry-After"]) <= 50
    assert discord.requests == []


def test_a_refused_test_message_counts_for_the_service_and_for_its_user(app, story, discord):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    discord.fail(Fault(status=403), Fault(status=401), Fault(status=404), Fault(status=429, body={"retry_after": 0.1}))
    for _ in range(4):
        story.client.post(f"/webhooks/{webhook_id}/test")
    with app.app_context():
        assert db.session.scalars(select(DiscordLimit.invalid_requests)).all() == [3]
        assert db.session.scalars(select(RefusalCount.number)).all() == [2]


def test_a_refused_bot_token_found_by_a_test_pauses_the_bot(story, discord, client):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=401))
    assert story.client.post(f"/webhooks/{webhook_id}/test").json["ok"] is False
    refused(story.client.post(f"/webhooks/{webhook_id}/test"), 429)
    assert len(discord.requests) == 1


def test_while_discord_hangs_two_tests_wait_and_further_ones_are_refused(story, discord):
    webhook_id = story.create_webhook()
    discord.latency = 1.0
    answers = at_once(*[lambda: story.client.post(f"/webhooks/{webhook_id}/test")] * 5)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429]


@pytest.mark.long
def test_one_user_cannot_use_up_what_all_may_be_refused(app, story, neighbour, dispatch, discord, clock):
    """A PUT resumes a webhook, and its next message is refused again."""
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    tries = discord_limits.USER_BUDGET + 20
    discord.fail(*[Fault(status=403)] * tries, destination="webhooks/987654321")
    for _ in range(tries):
        story.report()
        dispatch()
        story.client.put(f"/webhooks/{webhook_id}", {"value": WEBHOOK_URL})
        clock.advance(1)
    refusals = [request for request in discord.requests if request.destination == "webhooks/987654321"]
    assert len(refusals) == discord_limits.USER_BUDGET
    neighbour.report()
    dispatch()
    assert len(discord.messages) == 1
    assert "put them right" in refused(story.client.post(f"/webhooks/{webhook_id}/test"), 429)["message"]
    clock.advance(601)
    dispatch()
    refusals = [request for request in discord.requests if request.destination == "webhooks/987654321"]
    assert len(refusals) == discord_limits.USER_BUDGET + 1


def test_the_budget_of_invalid_requests_pauses_all_of_a_kind_and_no_other(
    app, ana, dispatch, discord, clock, monkeypatch
):
    monkeypatch.setattr(discord_limits, "INVALID_BUDGET", 3)
    url = WEBHOOK_URL.replace("987654321", "5")
    discord.outage = Fault(status=429, body={"retry_after": 0.5}, headers={"X-RateLimit-Scope": "user"})
    story = Story(ana)
    story.create_webhook(value="1")
    story.report()
    for expected in (1, 2, 3, 3, 3, 3):
        dispatch()
        assert len(discord.requests) == expected
        clock.advance(2)
    discord.outage = None
    other = Story(ana, domain="url.example.com")
    other.create_webhook(value=url)
    other.report()
    assert dispatch() == 1
    clock.advance(601)
    assert dispatch() == 1


def test_settling_for_a_webhook_deleted_meanwhile_is_no_error(app, story, make_dispatchers, discord):
    """The purge removes it while its message is in flight, on a database that locks no rows."""
    story.create_webhook()
    story.report()
    dispatcher = make_dispatchers()
    with app.app_context():
        dispatcher.work()
        dispatcher._receive(10)
        db.session.execute(text("DELETE FROM deliveries"))
        db.session.execute(text("DELETE FROM webhooks"))
        db.session.commit()
        dispatcher._settle()
        assert len(dispatcher.troubles) == 0
        assert not dispatcher.answers


def test_a_user_is_not_blamed_for_limits(app, story, dispatch, discord, clock):
    story.create_webhook()
    discord.fail(*[Fault(status=429, body={"retry_after": 0.1})] * 3)
    story.report()
    for _ in range(4):
        dispatch()
        clock.advance(1)
    with app.app_context():
        assert db.session.scalars(select(RefusalCount.number)).all() == []
