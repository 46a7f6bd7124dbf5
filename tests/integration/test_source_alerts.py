"""Alerts: each fires and is over with one message, whatever is late, missing, slow or killed."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import bindparam, func, insert, select, text, update

from app.delivery import alerting, upkeep
from app.delivery.troubles import Troubles
from app.delivery.upkeep import ROUND_SECONDS
from app.extensions import db
from app.models import Alert, Delivery
from app.models.columns import Identifier, new_id, utcnow
from app.repositories import base, deliveries, evaluations, windows
from app.repositories.alerts import MAX_ALERTS_PER_SOURCE
from app.repositories.windows import Window
from tests.integration.helpers import at_once, codes, count, is_id, is_time, plan_of, refused, write, wrong_fields
from tools.fake_discord import Fault
from tools.story import UNKNOWN_ID, Story, record

RATE = {"kind": "errorRate", "threshold": 20, "minutes": 5, "minRequests": 4, "webhookLevel": "warning"}
P95 = {"kind": "p95", "threshold": 500.5, "minutes": 5, "minRequests": 1, "webhookLevel": "warning"}
SILENCE = {"kind": "silence", "threshold": None, "minutes": 5, "minRequests": None, "webhookLevel": "warning"}
MINUTE = 60


@pytest.fixture(autouse=True)
def begin_of_a_minute(clock, monkeypatch):
    """Let reports come at the clock's time, which is a second after a whole minute."""
    monkeypatch.setattr("app.ingestion.utcnow", clock)
    clock.advance(61 - clock().timestamp() % 60)


@pytest.fixture
def create(story):
    return lambda body=RATE, **fields: story.create_alert({**body, **fields})


@pytest.fixture
def states(story):
    """The states of the source's alerts."""
    return lambda: [alert["state"] for alert in story.client.get(f"/traffic-sources/{story.source_id}/alerts").json]


@pytest.fixture
def pass_minutes(clock, dispatch):
    """Let minutes pass, each with a round of the dispatcher."""

    def run(minutes=1, rounds=1):
        for _ in range(minutes):
            for _ in range(rounds):
                clock.advance(MINUTE / rounds)
                dispatch()

    return run


def report(story, fatal=0, info=0, **fields):
    story.report_batch(*[record(**fields)] * fatal, *[record(status=200, **fields)] * info)


def titles(discord):
    return [message.body["embeds"][0]["title"] for message in discord.messages]


def alerts_of(client, source_id):
    return client.get(f"/traffic-sources/{source_id}/alerts").json


# The resource


@pytest.mark.parametrize("body", [RATE, P95, SILENCE])
def test_an_alert_has_exactly_these_fields_and_begins_with_ok(story, body):
    answer = story.client.post(f"/traffic-sources/{story.source_id}/alerts", body)
    assert answer.status_code == 201
    alert = answer.json
    assert alert == body | {"id": alert["id"], "state": "ok", "since": alert["since"]}
    assert is_id(alert["id"])
    assert is_time(alert["since"])
    assert alerts_of(story.client, story.source_id) == [alert]


def test_silence_has_neither_threshold_nor_min_requests(story, create):
    create({"kind": "silence", "minutes": 5, "webhookLevel": "warning"})
    create(SILENCE, threshold=7, minRequests=3)
    shown = [(alert["threshold"], alert["minRequests"]) for alert in alerts_of(story.client, story.source_id)]
    assert shown == [(None, None)] * 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (RATE | {"kind": "rate"}, "kind"),
        (RATE | {"threshold": 0}, "threshold"),
        (RATE | {"threshold": -1}, "threshold"),
        (RATE | {"threshold": 100.5}, "threshold"),
        (RATE | {"threshold": "5"}, "threshold"),
        (RATE | {"threshold": None}, "threshold"),
        (RATE | {"threshold": 1e300}, "threshold"),
        (P95 | {"threshold": 10_000_001}, "threshold"),
        (RATE | {"minutes": 0}, "minutes"),
        (RATE | {"minutes": 1441}, "minutes"),
        (RATE | {"minutes": 1.5}, "minutes"),
        (RATE | {"minRequests": -1}, "minRequests"),
        (RATE | {"minRequests": 1_000_001}, "minRequests"),
        (RATE | {"minRequests": None}, "minRequests"),
        (RATE | {"webhookLevel": "error"}, "webhookLevel"),
        (RATE | {"state": "firing"}, "state"),
        ({name: RATE[name] for name in RATE if name != "threshold"}, "threshold"),
        ({name: RATE[name] for name in RATE if name != "minRequests"}, "minRequests"),
        ({name: SILENCE[name] for name in SILENCE if name != "minutes"}, "minutes"),
        ({name: RATE[name] for name in RATE if name != "webhookLevel"}, "webhookLevel"),
        ({name: RATE[name] for name in RATE if name != "kind"}, "kind"),
    ],
)
def test_an_alert_that_makes_no_sense_is_refused_and_changes_nothing(story, create, body, field):
    alert_id = create()
    before = alerts_of(story.client, story.source_id)
    assert wrong_fields(story.client.post(f"/traffic-sources/{story.source_id}/alerts", body)) == {field}
    assert wrong_fields(story.client.put(f"/alerts/{alert_id}", body)) == {field}
    assert alerts_of(story.client, story.source_id) == before


def test_an_alert_is_replaced_whole_and_deleted(story, create):
    alert_id = create()
    answer = story.client.put(f"/alerts/{alert_id}", SILENCE)
    assert answer.status_code == 200
    assert answer.json == SILENCE | {"id": alert_id, "state": "ok", "since": answer.json["since"]}
    assert alerts_of(story.client, story.source_id) == [answer.json]
    assert story.client.delete(f"/alerts/{alert_id}").status_code == 204
    assert alerts_of(story.client, story.source_id) == []
    refused(story.client.put(f"/alerts/{alert_id}", SILENCE), 404)
    refused(story.client.delete(f"/alerts/{alert_id}"), 404)
    refused(story.client.delete("/alerts/nonsense"), 404)
    refused(story.client.get(f"/traffic-sources/{UNKNOWN_ID}/alerts"), 404)


def test_a_source_has_a_bounded_number_of_alerts_also_under_concurrency(story, create):
    for _ in range(MAX_ALERTS_PER_SOURCE - 2):
        create()
    path = f"/traffic-sources/{story.source_id}/alerts"
    answers = at_once(*(lambda: story.client.post(path, RATE) for _ in range(6)))
    assert codes(answers) == [201] * 2 + [429] * 4
    assert len(alerts_of(story.client, story.source_id)) == MAX_ALERTS_PER_SOURCE


# What fires


def test_an_error_rate_fires_once_and_is_over_once(story, create, states, pass_minutes, discord):
    story.create_webhook("warning")
    create()
    report(story, fatal=1, info=3)
    pass_minutes(3)
    assert states() == ["firing"]
    assert titles(discord) == ["🟠 Failing: error rate 25 %"]
    report(story, info=20)
    pass_minutes(4)
    assert states() == ["ok"]
    assert titles(discord)[1:] == ["🟢 Over: error rate 4.17 %"]


def test_a_p95_fires_once_and_is_over_once(story, create, states, pass_minutes, discord):
    story.create_webhook("warning")
    create(P95)
    report(story, info=4, elapsedTime=2_000)
    pass_minutes(3)
    assert states() == ["firing"]
    pass_minutes(5)
    assert states() == ["firing"], "nobody knows how slow requests are that do not come"
    report(story, info=1, elapsedTime=100)
    pass_minutes(3)
    assert states() == ["ok"]
    assert [title.rpartition(" p95 ")[0] for title in titles(discord)] == ["🟠 Slow:", "🟢 Over:"]


def test_silence_fires_once_and_is_over_with_the_next_record(story, create, states, pass_minutes, discord):
    story.create_webhook("warning")
    create(SILENCE)
    report(story, info=1)
    pass_minutes(5)
    assert states() == ["ok"], "not before five whole minutes are over"
    pass_minutes(4)
    assert states() == ["firing"]
    assert titles(discord) == ["🟠 Silent: no request for 5 minutes"]
    report(story, info=1)
    pass_minutes()
    assert states() == ["ok"]
    assert titles(discord)[1:] == ["🟢 Over: requests come again"]


def test_a_source_that_never_reported_is_not_silent(create, states, pass_minutes):
    create(SILENCE)
    pass_minutes(8)
    assert states() == ["ok"]


def test_silence_is_known_also_before_a_record_is_counted(app, story, create, states, clock, monkeypatch):
    """The series holds every record from its commit on."""
    create(SILENCE, minutes=1)
    report(story, info=1)
    for seconds, expected in ((75, "ok"), (60, "firing")):
        clock.advance(seconds)
        with app.app_context():
            alerting.evaluate_due(clock(), Troubles(), ROUND_SECONDS)
        assert states() == [expected]


def test_a_value_at_the_edge_does_not_flap(story, create, states, pass_minutes, discord):
    story.create_webhook("warning")
    create(RATE, minutes=1)
    for fatal in (20, 19, 20, 17, 20, 16, 20):
        report(story, fatal=fatal, info=100 - fatal)
        pass_minutes()
    pass_minutes()
    assert states() == ["firing"]
    assert len(discord.messages) == 1
    report(story, fatal=15, info=85)
    pass_minutes(2)
    assert states() == ["ok"]
    assert len(discord.messages) == 2


def test_a_value_over_few_requests_neither_fires_nor_ends_it(story, create, states, pass_minutes):
    create(RATE, minutes=1)
    report(story, fatal=3)
    pass_minutes(2)
    assert states() == ["ok"]
    report(story, fatal=4)
    pass_minutes(2)
    assert states() == ["firing"]
    report(story, info=3)
    pass_minutes(3)
    assert states() == ["firing"]
    report(story, info=4)
    pass_minutes(2)
    assert states() == ["ok"]


def test_a_record_that_comes_shortly_after_its_minute_still_counts_in_it(story, create, states, clock, dispatch):
    create(RATE, minutes=1)
    at = clock()
    report(story, info=4)
    clock.advance(69)
    dispatch()
    assert states() == ["ok"]
    report(story, fatal=1, occurredAt=at.isoformat())
    clock.advance(10)
    dispatch()
    assert states() == ["firing"]


def test_a_window_of_any_length_counts_each_of_its_minutes_once(story, create, clock, dispatch):
    """Windows are made of points of one, five and thirty minutes, and of records that are not counted yet."""
    now = clock()
    for minutes in (1, 4, 5, 29, 31, 61, 600, 1439):
        report(story, fatal=1, occurredAt=(now - timedelta(minutes=minutes, seconds=-1)).isoformat())
    dispatch()
    report(story, fatal=1, occurredAt=(now - timedelta(minutes=40)).isoformat())
    report(story, fatal=1)
    clock.advance(14)
    end = int(clock().timestamp()) // 60
    expected = {1: 1, 4: 2, 5: 3, 28: 3, 29: 4, 31: 5, 40: 6, 61: 7, 599: 7, 600: 8, 1439: 9}
    with story.client.app.app_context():
        asked = {minutes: Window(story.source_id, end - minutes, end) for minutes in expected}
        found = windows.totals(asked.values())
        assert {minutes: found[window].fatal for minutes, window in asked.items()} == expected
        assert windows.last_minutes([story.source_id]) == {story.source_id: end}


# Messages


def test_a_message_says_what_was_measured_and_pings_nobody(story, create, pass_minutes, discord):
    webhook_id = story.create_webhook("warning")
    policy = {"mention": {"roleId": "123456789"}}
    assert story.client.put(f"/webhooks/{webhook_id}/policy", policy).status_code == 200
    create()
    report(story, fatal=1, info=3)
    pass_minutes(2)
    report(story, info=20)
    pass_minutes(2)
    fired, over = (message.body for message in discord.messages)
    assert fired["embeds"][0]["author"]["name"] == "Payments API"
    assert fired["embeds"][0]["description"].startswith("**25 %** fatal among 4 requests in 5 minutes before <t:")
    assert fired["embeds"][0]["description"].endswith("; fires at 20 %")
    assert "\nIt fired <t:" in over["embeds"][0]["description"]
    assert [body["allowed_mentions"] for body in (fired, over)] == [{"parse": []}] * 2
    assert "content" not in fired
    assert over["flags"] == 1 << 12


def test_the_webhook_of_the_alerts_level_gets_the_message(story, create, pass_minutes, discord):
    story.create_webhook("warning", "1")
    story.create_webhook("info", "2")
    create(webhookLevel="info", minutes=1)
    report(story, fatal=4)
    pass_minutes(2)
    assert [len(discord.posted_to(f"channels/{number}")) for number in (1, 2)] == [0, 1]


def test_without_a_webhook_the_state_changes_and_nobody_gets_a_message_later(
    app, story, create, states, pass_minutes, discord
):
    create()
    report(story, fatal=4)
    pass_minutes(2)
    assert states() == ["firing"]
    assert count(app, Delivery) == 0
    webhook_id = story.create_webhook("warning")
    pass_minutes()
    assert discord.messages == []
    story.client.delete(f"/webhooks/{webhook_id}")
    report(story, info=100)
    pass_minutes(2)
    assert states() == ["ok"]
    assert discord.messages == []


def test_a_muted_webhook_keeps_the_messages_up_to_a_bound(app, story, create, pass_minutes, discord, clock):
    webhook_id = story.create_webhook("warning")
    until = (utcnow() + timedelta(days=1)).isoformat()
    assert story.client.post(f"/webhooks/{webhook_id}/mute", {"until": until}).status_code < 300
    alert_id = create(minutes=1)
    for number in range(110):
        state = {"state": "firing" if number % 2 else "ok", "next_evaluation_at": clock()}
        write(app, update(Alert).where(Alert.id == alert_id).values(state))
        report(story, fatal=0 if number % 2 else 4, info=4)
        pass_minutes(0)
        clock.advance(75)
        with app.app_context():
            alerting.evaluate_due(clock(), Troubles(), ROUND_SECONDS)
    assert count(app, Delivery) == 100
    assert discord.messages == []


def words(discord):
    """The first word of each title, without its symbol."""
    return [title.split()[1].strip(":") for title in titles(discord)]


def rise_and_fall(story, pass_minutes, failing=2, after=2):
    """Let an alert of one minute fire and be over; minutes pass after each."""
    report(story, fatal=4)
    pass_minutes(failing)
    report(story, info=100)
    pass_minutes(after)


def test_the_messages_of_one_webhook_arrive_in_order_after_a_long_outage(
    story, create, pass_minutes, dispatch, discord, clock
):
    story.create_webhook("warning")
    create(minutes=1)
    discord.outage = Fault(status=503)
    rise_and_fall(story, pass_minutes, failing=40)
    rise_and_fall(story, pass_minutes)
    discord.outage = None
    pass_minutes(8)
    assert words(discord) == ["Failing", "Over"] * 2


def test_a_new_alert_waits_for_minutes_after_an_outage_of_half_a_day(story, create, pass_minutes, discord, clock):
    story.create_webhook("warning")
    create(minutes=1)
    discord.outage = Fault(status=503)
    rise_and_fall(story, pass_minutes)
    for _ in range(24):
        clock.advance(29 * MINUTE)
        pass_minutes()
    discord.outage = None
    report(story, fatal=4)
    pass_minutes(7)
    assert words(discord) == ["Failing", "Over", "Failing"]


def test_messages_that_wait_for_an_earlier_one_are_not_overdue(app, story, create, pass_minutes, discord, clock):
    story.create_webhook("warning")
    create(minutes=1)
    discord.outage = Fault(status=503)
    rise_and_fall(story, pass_minutes, after=15)
    with app.app_context():
        overdue = deliveries.longest_due(clock())
    assert overdue is None or clock() - overdue < timedelta(minutes=6)


def test_a_message_that_cannot_be_read_keeps_no_later_one_waiting(app, story, create, pass_minutes, discord):
    story.create_webhook("warning")
    create(minutes=1)
    discord.outage = Fault(status=503)
    report(story, fatal=4)
    pass_minutes(2)
    write(app, update(Delivery).values(digest="{"))
    discord.outage = None
    report(story, info=100)
    pass_minutes(6)
    assert words(discord) == ["Over"]


def test_a_message_that_was_refused_is_not_held_back_by_a_threshold(story, create, pass_minutes, discord, clock):
    """Once its webhook is brought back, it is sent, though no event came."""
    webhook_id = story.create_webhook("warning")
    policy = {"threshold": {"events": 5, "seconds": 60}}
    assert story.client.put(f"/webhooks/{webhook_id}/policy", policy).status_code == 200
    create(minutes=1)
    discord.fail(Fault(status=404, body={"code": 10003, "message": "Unknown Channel"}))
    report(story, fatal=4)
    pass_minutes(5)
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": "42"}).status_code == 200
    pass_minutes(5)
    assert words(discord) == ["Failing"]


def test_a_message_whose_webhook_is_moved_while_it_is_in_flight_is_not_held_back_either(
    app, story, create, pass_minutes, make_dispatchers, discord, clock
):
    webhook_id = story.create_webhook("warning")
    policy = {"threshold": {"events": 5, "seconds": 60}}
    assert story.client.put(f"/webhooks/{webhook_id}/policy", policy).status_code == 200
    create(minutes=1)
    report(story, fatal=4)
    clock.advance(75)
    discord.fail(Fault(status=404, body={"code": 10003, "message": "Unknown Channel"}))
    with app.app_context():
        alerting.evaluate_due(clock(), Troubles(), ROUND_SECONDS)
        dispatcher = make_dispatchers()
        dispatcher.next_purge = float("inf")
        assert dispatcher.work() == 1
        dispatcher._receive(10)
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": "42"}).status_code == 200
    with app.app_context():
        dispatcher._settle()
    pass_minutes(3)
    assert [message.destination for message in discord.messages] == ["channels/42"]


def test_an_alert_that_is_replaced_by_another_kind_begins_anew_without_a_message(
    story, create, states, pass_minutes, discord
):
    story.create_webhook("warning")
    alert_id = create()
    report(story, fatal=4)
    pass_minutes(2)
    assert story.client.put(f"/alerts/{alert_id}", RATE | {"minutes": 10}).json["state"] == "firing"
    assert story.client.put(f"/alerts/{alert_id}", P95).json["state"] == "ok"
    pass_minutes(2)
    assert len(discord.messages) == 1


def test_a_higher_threshold_ends_an_alert_at_once(story, create, states, dispatch, pass_minutes, discord, clock):
    story.create_webhook("warning")
    alert_id = create()
    report(story, fatal=2, info=6)
    pass_minutes(2)
    assert story.client.put(f"/alerts/{alert_id}", RATE | {"threshold": 50}).json["state"] == "firing"
    clock.advance(6)
    dispatch()
    assert states() == ["ok"]
    assert len(discord.messages) == 2


def test_a_deleted_source_has_no_alerts_and_no_messages(app, story, create, pass_minutes, discord):
    story.create_webhook("warning")
    create()
    report(story, fatal=4)
    assert story.client.delete(f"/traffic-sources/{story.source_id}").status_code == 204
    assert count(app, Alert) == 0
    pass_minutes(2)
    assert discord.messages == []


def test_the_alerts_of_a_deleted_account_fire_no_more_and_are_purged(app, story, create, pass_minutes, clock):
    story.create_webhook("warning")
    create()
    report(story, fatal=4)
    write(app, text("UPDATE traffic_sources SET user_id = NULL"))
    clock.advance(75)
    with app.app_context():
        alerting.evaluate_due(clock(), Troubles(), ROUND_SECONDS)
    assert count(app, Delivery) == 0
    assert count(app, Alert) == 1
    pass_minutes()
    assert count(app, Alert) == 0


# Dispatchers


def test_rounds_within_a_minute_say_nothing_twice(story, create, pass_minutes, discord):
    story.create_webhook("warning")
    create()
    report(story, fatal=4)
    pass_minutes(3, rounds=6)
    assert len(discord.messages) == 1


def test_after_an_hour_without_a_dispatcher_the_present_is_evaluated(
    story, create, states, pass_minutes, dispatch, clock, discord
):
    story.create_webhook("warning")
    create(SILENCE)
    create(RATE)
    report(story, fatal=4)
    clock.advance(1800)
    report(story, info=4)
    clock.advance(1820)
    dispatch()
    assert states() == ["firing", "ok"]
    clock.advance(6)
    dispatch()
    assert titles(discord) == ["🟠 Silent: no request for 29 minutes"]


def test_two_dispatchers_at_once_fire_each_alert_once(app, story, clock, create, monkeypatch):
    monkeypatch.setattr(alerting, "BATCH_SIZE", 3)
    story.create_webhook("warning")
    for _ in range(MAX_ALERTS_PER_SOURCE):
        create()
    report(story, fatal=4)
    clock.advance(75)
    barrier = Barrier(4)

    def run():
        with app.app_context():
            barrier.wait(timeout=30)
            while alerting.evaluate_due(clock(), Troubles(), ROUND_SECONDS):
                pass

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(run) for _ in range(4)]:
            done.result()
    assert alerts_fired(app) == MAX_ALERTS_PER_SOURCE == count(app, Delivery)


def alerts_fired(app):
    with app.app_context():
        return db.session.scalar(select(func.count()).where(Alert.state == "firing"))


def test_an_alert_that_another_dispatcher_holds_is_left_to_it(app, story, create, clock):
    with app.app_context():
        if not db.is_postgresql:
            return
        create()
        report(story, fatal=4)
        clock.advance(75)
        held = evaluations.lock_due(clock(), 10)
        assert len(held) == 1

        def run():
            with app.app_context():
                return alerting.evaluate_due(clock(), Troubles(), ROUND_SECONDS)

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(run).result(timeout=5) == 0
        assert alerts_fired(app) == 0
        evaluations.evaluate(held, clock())
        db.session.commit()
        assert alerts_fired(app) == 1


@pytest.mark.parametrize("at", ["postpone", "_change", "put_for_level"])
def test_a_dispatcher_that_dies_between_two_statements_neither_fires_nor_forgets(
    app, story, create, clock, dispatch, discord, monkeypatch, at
):
    story.create_webhook("warning")
    create()
    report(story, fatal=4)
    clock.advance(75)
    with monkeypatch.context() as patched:
        real = getattr(evaluations, at)

        def die(*arguments):
            real(*arguments)
            raise KeyboardInterrupt

        patched.setattr(evaluations, at, die)
        with app.app_context(), pytest.raises(KeyboardInterrupt):
            alerting.evaluate_due(clock(), Troubles(), ROUND_SECONDS)
    assert (alerts_fired(app), count(app, Delivery)) == (0, 0)
    dispatch()
    dispatch()
    assert alerts_fired(app) == len(discord.messages) == 1


def test_alerts_wait_until_most_records_are_counted(app, story, create, states, clock, dispatch, monkeypatch):
    monkeypatch.setattr(evaluations, "MAX_UNCOUNTED", 3)
    create()
    report(story, fatal=4)
    clock.advance(75)
    with app.app_context():
        assert alerting.evaluate_due(clock(), Troubles(), ROUND_SECONDS) == 0
    assert states() == ["ok"]
    dispatch()
    clock.advance(6)
    dispatch()
    assert states() == ["firing"]


def test_an_alert_whose_next_evaluation_a_wrong_clock_wrote_is_evaluated(app, story, create, states, clock, dispatch):
    create()
    report(story, fatal=4)
    write(app, update(Alert).values(next_evaluation_at=clock() + timedelta(days=300)))
    clock.advance(75)
    dispatch()
    assert states() == ["firing"]


POISON = [
    "UPDATE series_points SET latencies = '{' WHERE traffic_source_id = :source",
    "UPDATE series_points SET latencies = '[1]' WHERE traffic_source_id = :source",
    "UPDATE alerts SET threshold = NULL WHERE traffic_source_id = :source",
    "UPDATE alerts SET threshold = -1 WHERE traffic_source_id = :source",
    "UPDATE alerts SET min_requests = -1 WHERE traffic_source_id = :source",
    "UPDATE alerts SET since = FAR WHERE traffic_source_id = :source",
    "UPDATE alerts SET next_evaluation_at = FAR WHERE traffic_source_id = :source",
    "UPDATE alerts SET created_at = FAR WHERE traffic_source_id = :source",
]


@pytest.mark.parametrize("poison", POISON)
def test_whatever_stands_in_one_alert_all_others_go_on(
    app, story, bob, create, pass_minutes, dispatch, discord, clock, poison
):
    neighbour = Story(bob, domain="bob.example.com")
    neighbour.create_webhook("warning", "2")
    create()
    neighbour.create_alert(RATE | {"minutes": 1})
    report(story, fatal=4)
    dispatch()
    with app.app_context():
        far = "'infinity'" if db.is_postgresql else "'soon'"
    poison = text(poison.replace("FAR", far)).bindparams(bindparam("source", story.source_id, Identifier))
    write(app, poison)
    for fatal in (4, 0):
        report(neighbour, fatal=fatal, info=4)
        pass_minutes(2)
    assert len(discord.posted_to("channels/2")) == 2


def test_an_alert_that_fails_is_seen_and_tried_again_later(
    app, story, create, states, pass_minutes, metrics, monkeypatch
):
    create()
    report(story, fatal=4)
    tries = []

    def fail(*arguments):
        tries.append(arguments)
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr(evaluations, "value_of", fail)
        pass_minutes(9, rounds=2)
    assert len(tries) == 2, "together, and alone"
    assert metrics()["arkyn_set_aside"] == 1
    report(story, fatal=4)
    pass_minutes(3)
    assert states() == ["firing"]


def test_evaluating_uses_indexes(app, story, clock, dispatch, statements):
    """However many alerts, points and records there are."""
    with app.app_context():
        if not db.is_postgresql:
            return
        many_alerts(app, story.source_id, 3_000)
        write(app, text("ANALYZE alerts"))
        statements.clear()
        now = clock() + timedelta(minutes=2)
        evaluations.evaluate(evaluations.lock_due(now, 50), now)
        db.session.rollback()
        read = [(sql, given) for sql, given in statements if re.search("FROM .*(alerts|latencies|_points)", sql, re.S)]
        assert len(read) == 4
        base.plan_afresh()
        for sql, given in read:
            plan = plan_of(sql, given).replace("Seq Scan on series_position", "")
            assert "Seq Scan" not in plan, plan


def many_alerts(app, source_id, number):
    rows = [
        {
            "id": new_id(),
            "created_at": utcnow(),
            "since": utcnow(),
            "next_evaluation_at": utcnow(),
            "traffic_source_id": source_id,
            "kind": kind,
            "threshold": None if kind == "silence" else 1.0,
            "minutes": 1439,
            "min_requests": 1,
            "webhook_level": "warning",
        }
        for kind in ["errorRate", "p95", "silence"] * (number // 3)
    ]
    with app.app_context():
        db.session.execute(insert(Alert), rows)
        db.session.commit()


@pytest.mark.long
def test_of_ten_thousand_alerts_of_one_user_a_round_evaluates_few(
    app, story, bob, make_dispatchers, discord, clock, monkeypatch
):
    """What a round does is bounded by time: here, a batch."""
    monkeypatch.setattr(upkeep, "ROUND_SECONDS", 0.0)
    evaluate = evaluations.evaluate
    evaluated: list[int] = []

    def watched(alert_ids, now):
        evaluated.append(len(alert_ids))
        evaluate(alert_ids, now)

    monkeypatch.setattr(evaluations, "evaluate", watched)
    dispatcher = make_dispatchers()
    story.create_webhook("warning", "1")
    for minutes in range(0, 1440, 30):
        report(story, info=1, occurredAt=(clock() - timedelta(minutes=minutes)).isoformat())
    many_alerts(app, story.source_id, 9_999)
    neighbour = Story(bob, domain="bob.example.com")
    neighbour.create_webhook(value="2")
    clock.advance(75)
    with app.app_context():
        for _ in range(8):
            neighbour.report()
            dispatcher.upkeep.next_at = 0.0
            dispatcher.work()
            while dispatcher.in_flight:
                dispatcher._receive(5.0)
            dispatcher._settle()
            clock.advance(6)
    assert 0 < sum(evaluated) <= 8 * alerting.BATCH_SIZE
    assert len(discord.posted_to("channels/2")) == 8
