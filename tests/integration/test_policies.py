"""What becomes a message: events that are ignored, and events that gather until they are many."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.extensions import db
from app.policies import compile_rule, is_ignored
from app.repositories import incidents, policies, webhooks
from tests.integration.helpers import at_once, codes, events_owed, refused, wrong_fields
from tools.fake_discord import Fault
from tools.story import Story, record

EMPTY: dict[str, Any] = {"ignore": [], "threshold": None, "mention": None, "remindAfterSeconds": None}
HEALTH = {"method": "get", "pathname": "/health*", "status": "4xx"}
POLICY = {
    "ignore": [HEALTH, {"pathname": "/robots.txt"}, {"status": "400-403"}],
    "threshold": {"events": 10, "seconds": 60},
    "mention": {"roleId": "123456789"},
    "remindAfterSeconds": 600,
}


@pytest.fixture
def set_policy(story):
    def put(webhook_id, **policy):
        answer = story.client.put(f"/webhooks/{webhook_id}/policy", policy)
        assert answer.status_code == 200, answer.text
        return answer.json

    return put


@pytest.fixture
def status(story):
    return lambda webhook_id: story.client.get(f"/webhooks/{webhook_id}/status").json


@pytest.fixture
def reported_at(clock, monkeypatch):
    """Let reports come at the clock's time."""
    monkeypatch.setattr("app.ingestion.utcnow", clock)


@pytest.fixture
def postgresql_only(database_url):
    if not database_url.startswith("postgresql"):
        pytest.skip("On SQLite, Python judges every event.")


def left_out(shown):
    return shown["ignored"], shown["heldBack"], shown["pending"]


def test_a_new_webhook_has_an_empty_policy(story):
    webhook_id = story.create_webhook()
    answer = story.client.get(f"/webhooks/{webhook_id}/policy")
    assert (answer.status_code, answer.json) == (200, EMPTY)


def test_a_policy_is_kept_as_it_was_put_and_replaced_whole(story, set_policy):
    webhook_id = story.create_webhook()
    assert set_policy(webhook_id, **POLICY) == POLICY
    assert story.client.get(f"/webhooks/{webhook_id}/policy").json == POLICY
    assert set_policy(webhook_id, remindAfterSeconds=60) == EMPTY | {"remindAfterSeconds": 60}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ignore", [{}]),
        ("ignore", [{"status": "600-500"}]),
        ("ignore", [{"status": "4x4"}]),
        ("ignore", [{"status": 404}]),
        ("ignore", [{"pathname": ""}]),
        ("ignore", [{"pathname": "/a\x00"}]),
        ("ignore", [{"pathname": "/" + "x" * 200}]),
        ("ignore", [{"pathname": "*a*b*c*d*e*f*"}]),
        ("ignore", [{"method": "get it"}]),
        ("ignore", [{"path": "/"}]),
        ("ignore", [{"status": "404"}] * 51),
        ("ignore", [{"pathname": "*" + "x" * 150}] * 6),
        ("ignore", [{"pathname": "*" + "x" * 16}] * 47),
        ("ignore", None),
        ("threshold", {"events": 0, "seconds": 60}),
        ("threshold", {"events": 101, "seconds": 60}),
        ("threshold", {"events": 10, "seconds": 3601}),
        ("threshold", {"events": 10}),
        ("threshold", {"events": "10", "seconds": 60}),
        ("mention", {"roleId": "everyone"}),
        ("mention", {"roleId": str(2**64)}),
        ("mention", {"roleId": "9" * 5000}),
        ("mention", {}),
        ("remindAfterSeconds", 59),
        ("remindAfterSeconds", 1.5),
        ("unknown", 1),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_and_changes_nothing(story, set_policy, field, value):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, **POLICY)
    answer = story.client.put(f"/webhooks/{webhook_id}/policy", {field: value})
    assert wrong_fields(answer) == {field}
    assert story.client.get(f"/webhooks/{webhook_id}/policy").json == POLICY


def test_fifty_usual_rules_are_taken(story, set_policy):
    rules = [{"pathname": f"/{'x' * 186}/{number}*/{'y' * 5}*"} for number in range(10, 35)]
    rules += [{"pathname": f"*/wp-login{number}.php"} for number in range(10, 35)]
    assert set_policy(story.create_webhook(), ignore=rules)["ignore"] == rules


def test_the_policy_of_a_deleted_webhook_is_404(story):
    webhook_id = story.create_webhook()
    story.client.delete(f"/webhooks/{webhook_id}")
    refused(story.client.get(f"/webhooks/{webhook_id}/policy"), 404)
    refused(story.client.put(f"/webhooks/{webhook_id}/policy", EMPTY), 404)


@pytest.mark.parametrize("form", ["single", "batch"])
def test_an_ignored_event_makes_no_message_but_is_counted_and_kept(story, set_policy, status, form):
    webhook_id = story.create_webhook("warning")
    set_policy(webhook_id, ignore=[HEALTH])
    ignored, wanted = record(status=404, pathnameUrl="/health/db?x=1"), record(status=404, pathnameUrl="/orders")
    for each in (ignored, ignored, wanted):
        if form == "single":
            story.report(**each)
        else:
            story.report_batch(each)
    assert left_out(status(webhook_id)) == (2, 0, 1)
    assert events_owed(story.client.app) == [1]
    assert story.client.get(f"/http-traffics/{story.source_id}").json["meta"]["totalItems"] == 3


# Rule, then events (method, path, status) that meet it, then some that do not.
RULES = [
    ({"method": "GET"}, [("get", "/", 500)], [("post", "/", 500)]),
    ({"status": "503"}, [("get", "/", 503)], [("get", "/", 500)]),
    ({"status": "5xx"}, [("get", "/", 500), ("get", "/", 599)], [("get", "/", 600)]),
    ({"status": "501-503"}, [("get", "/", 501), ("get", "/", 503)], [("get", "/", 500), ("get", "/", 504)]),
    ({"pathname": "/health"}, [("get", "/health", 500)], [("get", "/health/", 500), ("get", "/Health", 500)]),
    ({"pathname": "/api/*/health"}, [("get", "/api/v1/x/health", 500)], [("get", "/api/health", 500)]),
    ({"pathname": "*.php"}, [("get", "/a.php", 500)], [("get", "/a.php5", 500)]),
    ({"pathname": "*a*a*"}, [("get", "/aa", 500), ("get", "/xaxax", 500)], [("get", "/a", 500)]),
    ({"pathname": "*"}, [("get", "/anything", 500)], []),
    ({"pathname": "/50%_\\"}, [("get", "/50%_\\", 500)], [("get", "/50xx\\", 500), ("get", "/50%_", 500)]),
    ({"pathname": "/\N{SNOWMAN}*"}, [("get", "/\N{SNOWMAN}/1", 500)], [("get", "/x", 500)]),
    ({"pathname": "/a.c"}, [("get", "/a.c", 500)], [("get", "/abc", 500)]),
    ({"method": "put", "pathname": "/x", "status": "500"}, [("put", "/x", 500)], [("put", "/x", 502)]),
]


@pytest.mark.parametrize("form", ["single", "batch"])
@pytest.mark.parametrize(("rule", "met", "missed"), RULES)
def test_a_rule_ignores_what_meets_all_of_its_conditions(story, set_policy, status, form, rule, met, missed):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, ignore=[{"pathname": "/never"}, rule])
    for method, path, code in met + missed:
        event = record(method=method, pathnameUrl=path, status=code)
        story.report(**event) if form == "single" else story.report_batch(event)
    assert left_out(status(webhook_id)) == (len(met), 0, len(missed))


def test_a_repeated_report_is_not_counted_as_ignored_again(story, set_policy, status):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, ignore=[{"pathname": "*"}])
    for _ in range(2):
        story.client.post(f"/http-traffic-records/{story.source_id}", record(reportId="same"))
        story.report_batch(record(reportId="same"))
    assert left_out(status(webhook_id)) == (1, 0, 0)


def test_events_ignored_at_once_are_all_counted(story, set_policy, status):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, ignore=[{"pathname": "/orders/*"}])
    path = f"/http-traffic-records/{story.source_id}"
    answers = at_once(*(lambda: story.client.post(path, record()) for _ in range(8)))
    assert codes(answers) == [201] * 8
    assert left_out(status(webhook_id)) == (8, 0, 0)


def test_events_that_reach_the_threshold_go_out_as_one_message(story, set_policy, status, dispatch, discord):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, threshold={"events": 3, "seconds": 60})
    story.report()
    story.report()
    assert dispatch() == 0
    assert left_out(status(webhook_id)) == (0, 0, 2)
    story.report()
    assert dispatch() == 1
    assert [message.events for message in discord.messages] == [3]
    assert left_out(status(webhook_id)) == (0, 0, 0)


def test_after_the_threshold_events_are_told_as_usual_until_the_incident_is_over(
    story, set_policy, dispatch, discord, clock, reported_at
):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, threshold={"events": 2, "seconds": 60})
    story.report_batch(record(), record())
    assert dispatch() == 1
    clock.advance(10)
    story.report()
    assert dispatch() == 1
    clock.advance(301)
    assert dispatch() == 1  # The recovery notice.
    story.report()
    assert dispatch() == 0
    assert [message.events for message in discord.messages][:2] == [2, 1]


def test_what_never_reaches_the_threshold_is_held_back(
    story, set_policy, status, dispatch, discord, clock, reported_at
):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, threshold={"events": 3, "seconds": 60})
    story.report()
    clock.advance(40)
    story.report()
    clock.advance(30)
    dispatch()
    assert left_out(status(webhook_id)) == (0, 1, 1)
    story.report()
    clock.advance(1)
    story.report()
    assert dispatch() == 1
    assert [message.events for message in discord.messages] == [3]
    assert left_out(status(webhook_id)) == (0, 1, 0)


def test_events_that_reached_the_threshold_while_no_dispatcher_ran_are_told(
    story, set_policy, status, dispatch, discord, clock, reported_at
):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, threshold={"events": 3, "seconds": 60})
    story.report()
    clock.advance(61)
    for _ in range(3):
        story.report()
        clock.advance(20)
    clock.advance(3600)
    assert dispatch() == 1
    assert [message.events for message in discord.messages] == [3]
    assert left_out(status(webhook_id)) == (0, 1, 0)


def test_what_gathers_is_told_at_once_when_the_threshold_is_taken_away(story, set_policy, dispatch, discord):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, threshold={"events": 3, "seconds": 60})
    story.report_batch(record(), record())
    assert dispatch() == 0
    set_policy(webhook_id)
    assert dispatch() == 1
    assert [message.events for message in discord.messages] == [2]


def test_a_message_that_failed_is_tried_again_whatever_the_threshold(story, set_policy, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=500))
    story.report()
    dispatch()
    set_policy(webhook_id, threshold={"events": 3, "seconds": 60})
    clock.advance(60)
    dispatch()
    assert [message.events for message in discord.messages] == [1]


def test_events_gathered_for_a_threshold_are_not_overdue(story, set_policy, dispatch, metrics):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, threshold={"events": 3, "seconds": 60})
    story.report()
    dispatch()
    assert metrics()["arkyn_longest_due_seconds"] == 0


def pings(message):
    return message.body.get("content", "").split(" ")[0], message.body["allowed_mentions"]


ROLE = ("<@&123456789>", {"parse": [], "roles": ["123456789"]})


def test_the_first_message_of_an_incident_pings_the_role_and_no_other_does(
    story, set_policy, dispatch, discord, clock, reported_at
):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, mention={"roleId": "123456789"})
    story.report()
    dispatch()
    clock.advance(5)
    story.report_batch(record(), record())
    dispatch()
    clock.advance(301)
    dispatch()  # The recovery notice.
    clock.advance(5)
    story.report()
    dispatch()
    first, second, recovery, again = discord.messages
    assert pings(first) == ROLE
    assert pings(again) == ROLE
    assert [message.body["allowed_mentions"] for message in (second, recovery)] == [{"parse": []}] * 2


def test_a_first_message_that_failed_pings_when_it_is_tried_again(story, set_policy, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, mention={"roleId": "123456789"})
    discord.fail(Fault(status=500))
    story.report()
    dispatch()
    clock.advance(60)
    dispatch()
    assert [pings(message) for message in discord.messages] == [ROLE]


def test_a_message_that_is_redelivered_pings_nobody(story, set_policy, dispatch, discord, clock, reported_at):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, mention={"roleId": "123456789"})
    story.report()
    dispatch()
    clock.advance(301)
    dispatch()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    story.client.post(f"/deliveries/{delivery['id']}/redeliver")
    dispatch()
    assert [pings(message)[1] for message in discord.messages] == [ROLE[1], {"parse": []}]


def test_a_reminder_says_that_an_incident_goes_on_and_pings(story, set_policy, dispatch, discord, clock, reported_at):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, mention={"roleId": "123456789"}, remindAfterSeconds=60)
    for _ in range(13):
        story.report()
        dispatch()
        clock.advance(10)
    dispatch()
    reminders = [message for message in discord.messages if "Still going on" in message.body["embeds"][0]["title"]]
    assert [message.body["embeds"][0]["description"].split(" since")[0] for message in reminders] == [
        "**7 fatal events**",
        "**13 fatal events**",
    ]
    assert [pings(message) for message in reminders] == [ROLE, ROLE]


def test_a_reminder_says_when_the_last_event_came(story, set_policy, dispatch, discord, clock, reported_at):
    set_policy(story.create_webhook(), remindAfterSeconds=60)
    for pause in (20, 45):
        story.report()
        dispatch()
        clock.advance(pause)
    for _ in range(2):
        dispatch()
    (description,) = [
        embed["description"]
        for message in discord.messages
        for embed in message.body["embeds"]
        if "Still going on" in embed["title"]
    ]
    records = story.client.get(f"/http-traffics/{story.source_id}").json["data"]
    last, first = (int(datetime.fromisoformat(record["createdAt"]).timestamp()) for record in records)
    assert description == f"**2 fatal events** since <t:{first}:f>, last <t:{last}:R>"


def test_no_reminder_comes_once_no_event_does(story, set_policy, dispatch, discord, clock, reported_at):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, remindAfterSeconds=60)
    story.report_batch(record(), record())
    for _ in range(80):
        dispatch()
        clock.advance(10)
    titles = [message.body["embeds"][0]["title"] for message in discord.messages]
    assert [title.split(":")[0] for title in titles] == ["`GET api.payments.com/orders/123`", "🟢 Recovered"]


def test_no_reminder_gathers_while_the_webhook_is_muted(story, set_policy, dispatch, discord, clock, reported_at):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, remindAfterSeconds=60)
    story.report()
    dispatch()
    story.client.post(f"/webhooks/{webhook_id}/mute", {"until": (clock() + timedelta(hours=1)).isoformat()})
    for _ in range(20):
        clock.advance(30)
        story.report()
        dispatch()
    story.client.delete(f"/webhooks/{webhook_id}/mute")
    dispatch()
    assert [message.events for message in discord.messages] == [1, 20]


def test_a_message_says_what_was_ignored_since_the_last_and_why_it_came(
    story, set_policy, dispatch, discord, clock, reported_at
):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, ignore=[{"pathname": "/health"}], threshold={"events": 2, "seconds": 60})
    story.report_batch(*(record(pathnameUrl="/health") for _ in range(3)), record(), record())
    dispatch()
    clock.advance(5)
    story.report(pathnameUrl="/health")
    story.report()
    dispatch()
    clock.advance(5)
    story.report()
    dispatch()
    lasts = [message.body["embeds"][0]["description"].split("\n")[-1] for message in discord.messages]
    assert re.fullmatch(r"2 within 60 seconds · 3 ignored by this webhook's policy since <t:\d+:f>", lasts[0])
    assert re.fullmatch(r"1 ignored by this webhook's policy since <t:\d+:f>", lasts[1])
    assert "ignored" not in lasts[2]


GLOBS = st.text("*/a%_\\.\N{SNOWMAN}", min_size=1, max_size=6)
PATHS = st.text("/aA%_\\.\N{SNOWMAN}", max_size=6)
STATUSES = st.sampled_from(["1xx", "404", "400-599"])


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_ignores_what_python_does(data, app, postgresql_only):
    """A single report on PostgreSQL is judged by SQL, all others by Python."""
    rule = data.draw(
        st.fixed_dictionaries(
            {"pathname": GLOBS}, optional={"method": st.sampled_from(["get", "put"]), "status": STATUSES}
        )
    )
    rules = [compile_rule(rule)]
    event = {"method": "get", "path": data.draw(PATHS), "status": data.draw(st.sampled_from([100, 404, 500]))}
    with app.app_context():
        sql = f"SELECT {policies.IGNORED} FROM (SELECT CAST(:rules AS JSONB) AS ignore_rules) AS webhooks"
        ignored = db.session.scalar(text(sql), {**event, "rules": json.dumps(rules)})
    assert ignored == is_ignored(rules, **event)


def last_lines(discord):
    return [message.body["embeds"][0]["description"].split("\n")[-1] for message in discord.messages]


def test_a_message_says_which_kinds_come_for_the_first_time_in_30_days(story, dispatch, discord, clock, reported_at):
    story.create_webhook()
    story.report()
    dispatch()
    clock.advance(86_400)
    for paths in (["/orders/7"], ["/new"], ["/new"], ["/newer", "/new"]):
        clock.advance(400)
        story.report_batch(*(record(pathnameUrl=path) for path in paths))
        dispatch()
    said = [line for line in last_lines(discord) if "first time" in line.lower()]
    assert said == ["First time in 30 days", "+: first time in 30 days"]
    (table,) = [
        embed for message in discord.messages if "/newer" in (embed := message.body["embeds"][0]["description"])
    ]
    lines = table.split("\n")
    assert lines[lines.index("GET /newer") + 1].startswith("+ 500")
    assert lines[lines.index("GET /new") + 1].startswith("  500")


def test_a_kind_that_was_not_told_for_30_days_is_new_again(story, dispatch, discord, clock, reported_at):
    story.create_webhook()
    for _ in range(2):
        story.report()
        dispatch()
        clock.advance(31 * 86_400)
    first, again = [line for line in last_lines(discord) if "event" not in line]
    assert (first, again) != ("First time in 30 days", "First time in 30 days")
    assert again == "First time in 30 days"


def test_the_events_of_a_preview_are_those_of_the_webhooks_level_oldest_first(app, story):
    webhook_id = story.create_webhook("warning")
    story.report_batch(record(status=404, pathnameUrl="/a"), record(status=500), record(status=403, method="PUT"))
    with app.app_context():
        events = policies.list_events(webhooks.get(webhook_id), datetime.now(UTC) - timedelta(days=1))
        assert [event[1:] for event in events] == [("get", "/a", 404), ("put", "/orders/123", 403)]
        assert policies.list_events(webhooks.get(webhook_id), datetime.now(UTC) + timedelta(days=1)) == []


def test_a_message_that_is_redelivered_never_gathers_for_a_threshold(
    story, set_policy, status, dispatch, discord, clock, reported_at
):
    webhook_id = story.create_webhook()
    story.report()
    dispatch()
    clock.advance(301)
    dispatch()
    set_policy(webhook_id, threshold={"events": 5, "seconds": 60})
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    story.client.post(f"/deliveries/{delivery['id']}/redeliver")
    discord.fail(Fault(status=404, body={"code": 10003, "message": "Unknown Channel"}))
    clock.advance(5)
    dispatch()
    clock.advance(3_600)
    dispatch()
    assert left_out(status(webhook_id)) == (0, 0, 1)
    story.client.put(f"/webhooks/{webhook_id}", {"value": "42"})
    dispatch()
    assert [message.events for message in discord.messages] == [1, 1]


def test_a_message_that_gathers_for_a_threshold_is_sent_when_somebody_asks_for_it(
    story, set_policy, status, dispatch, discord
):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, threshold={"events": 5, "seconds": 60})
    story.report(pathnameUrl="/a")
    assert dispatch() == 0
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert story.client.post(f"/deliveries/{delivery['id']}/redeliver").status_code == 202
    assert dispatch() == 1
    assert [message.events for message in discord.messages] == [1]
    assert left_out(status(webhook_id)) == (0, 0, 0)


def test_a_reminder_counts_an_event_once_however_often_it_is_redelivered(
    story, set_policy, dispatch, discord, clock, reported_at
):
    webhook_id = story.create_webhook()
    set_policy(webhook_id, remindAfterSeconds=60)
    story.report_batch(record(), record())
    dispatch()
    clock.advance(30)
    dispatch()
    story.report()
    dispatch()
    first = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"][-1]
    discord.outage = Fault(status=503)
    assert story.client.post(f"/deliveries/{first['id']}/redeliver").status_code == 202
    dispatch()
    clock.advance(31)
    dispatch()
    discord.outage = None
    for _ in range(2):
        clock.advance(20)
        dispatch()
    reminders = [message for message in discord.messages if "Still going on" in message.body["embeds"][0]["title"]]
    assert [message.body["embeds"][0]["description"].split(" since")[0] for message in reminders] == [
        "**3 fatal events**"
    ]


def test_a_first_reminder_does_not_wait_for_incidents_of_muted_webhooks(
    app, story, bob, set_policy, dispatch, discord, clock, reported_at, monkeypatch
):
    monkeypatch.setattr(incidents, "BATCH_SIZE", 1)
    other = Story(bob, domain="bob.example.com")
    muted = other.create_webhook(value="7")
    bob.put(f"/webhooks/{muted}/policy", {"remindAfterSeconds": 60})
    other.report()
    dispatch()
    bob.post(f"/webhooks/{muted}/mute", {"until": (clock() + timedelta(hours=1)).isoformat()})
    clock.advance(5)
    set_policy(story.create_webhook(), remindAfterSeconds=60)
    for _ in range(9):
        story.report()
        dispatch()
        clock.advance(10)
    assert sum("Still going on" in message.body["embeds"][0]["title"] for message in discord.messages) == 1


def test_webhooks_that_wait_for_a_threshold_are_judged_in_turns(
    story, set_policy, make_dispatchers, app, clock, reported_at, monkeypatch
):
    """However many others look as if they reached theirs."""
    monkeypatch.setattr("app.delivery.judging.JUDGED_AT_ONCE", 1)
    waiting = [story.create_webhook(level) for level in ("fatal", "warning", "info")]
    for webhook_id in waiting:
        set_policy(webhook_id, threshold={"events": 2, "seconds": 1})
    for _ in range(2):
        for code in (500, 404, 200):
            story.report(status=code)
        clock.advance(3)
    dispatcher, judge_held = make_dispatchers(), policies.judge_held
    judged: list[str] = []

    def watched(webhook_ids, now):
        judged.extend(webhook_ids)
        return judge_held(webhook_ids, now)

    monkeypatch.setattr(policies, "judge_held", watched)
    with app.app_context():
        for _ in range(3):
            dispatcher.work()
    assert sorted(judged) == sorted(waiting)


def test_of_more_events_than_are_judged_at_a_time_those_at_the_border_reach_the_threshold(
    story, set_policy, dispatch, discord, clock, reported_at, monkeypatch
):
    monkeypatch.setattr("app.repositories.policies.MAX_HELD_ROWS", 20)
    webhook_id = story.create_webhook()
    set_policy(webhook_id, threshold={"events": 6, "seconds": 10})
    for _ in range(17):
        story.report()
        clock.advance(5)
    for _ in range(6):
        story.report()
    clock.advance(60)
    dispatch()
    clock.advance(60)
    dispatch()
    assert sum(message.events for message in discord.messages) >= 6


def test_who_changes_a_policy_over_and_over_holds_nobodys_reminders_up(
    story, bob, set_policy, make_dispatchers, dispatch, discord, clock, reported_at, monkeypatch
):
    monkeypatch.setattr(incidents, "BATCH_SIZE", 1)
    set_policy(story.create_webhook(value="1"), remindAfterSeconds=60)
    hostile = Story(bob, domain="bob.example.com")
    hostile_id = hostile.create_webhook(value="2")
    for each in (story, hostile):
        each.report()
    dispatch()
    for _ in range(20):
        policy = {"remindAfterSeconds": 604_800}
        assert hostile.client.put(f"/webhooks/{hostile_id}/policy", policy).status_code == 200
        clock.advance(6)
        story.report()
        dispatch()
    assert "Still" in str([message.body for message in discord.posted_to("channels/1")])
