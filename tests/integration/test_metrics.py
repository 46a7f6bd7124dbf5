"""What Prometheus is told."""

import re

import pytest
from sqlalchemy import event

from app.extensions import db
from app.repositories import discord_limits
from tests.integration.helpers import refused
from tests.support import in_days
from tools.fake_discord import Fault
from tools.story import UNKNOWN_ID, WEBHOOK_URL, Story, record


@pytest.fixture
def work(app, make_dispatchers, clock):
    """Send all that is due, and write down what was counted."""
    dispatcher = make_dispatchers()

    def run(after: float = 0) -> None:
        clock.advance(after)
        with app.app_context():
            dispatcher.run_until_idle()
            dispatcher.run_until_idle()

    return run


def requests(method: str, route: str, status: int) -> str:
    return f'arkyn_http_requests_total{{method="{method}",route="{route}",status="{status}"}}'


def attempts(outcome: str, status: int | str) -> str:
    return f'arkyn_delivery_attempts_total{{outcome="{outcome}",status="{status}"}}'


def notifications(outcome: str) -> str:
    return f'arkyn_notifications_total{{outcome="{outcome}"}}'


def test_requests_are_counted_by_method_route_and_status(ana, gained):
    source_id = ana.create_source()
    for id in (source_id, source_id, UNKNOWN_ID):
        ana.get(f"/webhooks/{id}")
    assert gained(requests("POST", "/traffic-sources", 201)) == 1
    assert gained(requests("GET", "/webhooks/<id:traffic_source_id>", 200)) == 2
    assert gained(requests("GET", "/webhooks/<id:traffic_source_id>", 404)) == 1


def test_the_time_a_request_took_is_counted_by_method_and_route(ana, gained):
    for id in (UNKNOWN_ID, UNKNOWN_ID):
        ana.get(f"/webhooks/{id}")
    labels = 'method="GET",route="/webhooks/<id:traffic_source_id>"'
    assert gained(f"arkyn_http_request_duration_seconds_count{{{labels}}}") == 2
    assert gained(f'arkyn_http_request_duration_seconds_bucket{{le="+Inf",{labels}}}') == 2
    assert 0 < gained(f"arkyn_http_request_duration_seconds_sum{{{labels}}}") < 5


def test_an_unexpected_error_is_counted_as_such(ana, gained, monkeypatch):
    monkeypatch.setattr("app.repositories.webhooks.list_of", lambda *_: 1 / 0)
    refused(ana.get(f"/webhooks/{ana.create_source()}"), 500)
    assert gained(requests("GET", "/webhooks/<id:traffic_source_id>", 500)) == 1


def test_series_do_not_grow_with_ids_paths_methods_or_users(client, ana, metrics):
    def visit(mark: str) -> None:
        for path in (f"/webhooks/{mark}", f"/{mark}", f"/http-traffics/{mark}?q={mark}", "/%F0%9F"):
            for method in ("GET", f"X{mark.upper()}"):
                ana.request(method, path)
                client.request(method, path)

    visit("first")
    metrics()
    before = set(metrics())
    for mark in ("second", "third"):
        visit(mark)
        client.sign_up(f"{mark}@example.com")
    after = set(metrics())
    assert {name for name in after - before if "/user" not in name} == set()
    assert requests("GET", "(unknown path)", 404) in before
    assert requests("OTHER", "(unknown path)", 404) in before
    assert not [name for name in after if "first" in name.lower()]


def test_records_are_counted_by_level_however_they_are_reported(story, gained):
    story.report(status=500)
    story.report_batch(*(record(status=status) for status in (404, 200, 503)))
    story.client.post("/ingest-log", record(status=302, trafficSourceId=story.source_id))
    levels = [gained(f'arkyn_records_total{{level="{level}"}}') for level in ("fatal", "warning", "info")]
    assert levels == [2, 1, 2]


def test_records_that_were_not_stored_are_not_counted(story, bob, gained, monkeypatch):
    story.client.post(f"/http-traffic-records/{story.source_id}/batch", [record(status=99), record(status=200)])
    bob.post(f"/http-traffic-records/{story.source_id}", record())
    with monkeypatch.context() as patched:
        patched.setattr("app.extensions.db.session.commit", lambda: 1 / 0)
        refused(story.client.post(f"/http-traffic-records/{story.source_id}/batch", [record()]), 500)
        patched.setattr("app.repositories.reports.store_one_and_commit", lambda *_: 1 / 0)
        refused(story.client.post(f"/http-traffic-records/{story.source_id}", record()), 500)
    assert gained('arkyn_records_total{level="fatal"}') == 0


@pytest.mark.parametrize(
    ("said", "counted"), [("3", 3), ("0", 0), ("", 0), ("-1", 0), ("1e3", 0), ("9" * 10, 0), ("canary", 0)]
)
def test_what_reporters_dropped_is_counted_and_logged(story, gained, caplog, said, counted):
    path = f"/http-traffic-records/{story.source_id}/batch"
    for _ in range(2):
        answer = story.client.post(path, [record(reportId="1")], headers={"X-Reports-Dropped": said})
        assert answer.status_code == 201
    assert gained("arkyn_reports_dropped_total") == counted
    lines = [line.message for line in caplog.records if "dropped" in line.message]
    assert lines == ([f"A reporter of traffic source {story.source_id} dropped 3 reports."] if counted else [])


def test_messages_that_wait_are_counted_by_state(story, dispatch, metrics):
    story.create_webhook()
    states = ['arkyn_deliveries{state="pending"}', 'arkyn_deliveries{state="delivering"}']
    before = metrics()
    assert [before[state] for state in states] == [0, 0]
    assert before["arkyn_oldest_pending_seconds"] == before["arkyn_longest_due_seconds"] == 0
    story.report()
    waiting = metrics()
    assert [waiting[state] for state in states] == [1, 0]
    assert waiting["arkyn_oldest_pending_seconds"] > 0
    assert waiting["arkyn_longest_due_seconds"] > 0
    dispatch()
    assert [metrics()[state] for state in states] == [0, 0]


@pytest.mark.parametrize("why", ["suspended", "muted", "to be retried later"])
def test_what_waits_on_purpose_is_old_but_not_late(story, dispatch, discord, metrics, why):
    webhook_id = story.create_webhook()
    if why == "muted":
        story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(80)})
    else:
        discord.fail(Fault(status=404 if why == "suspended" else 500))
    story.report()
    dispatch()
    found = metrics()
    assert found['arkyn_deliveries{state="pending"}'] == 1
    assert found["arkyn_oldest_pending_seconds"] > 0
    assert found["arkyn_longest_due_seconds"] == 0
    assert found["arkyn_suspended_webhooks"] == (why == "suspended")


def test_tries_are_counted_by_their_outcome_and_discords_status(story, work, discord, gained):
    story.create_webhook()
    discord.fail(Fault(status=503), Fault(drop=True), Fault(status=429, body={"retry_after": 1}))
    story.report()
    for _ in range(4):
        work(after=60)
    assert gained(attempts("retry", 503)) == 1
    assert gained(attempts("retry", "none")) == 1
    assert gained(attempts("rate_limited", 429)) == 1
    assert gained(attempts("delivered", 200)) == 1


def test_the_ends_a_notification_can_have_are_shown_before_any_came_to_it(metrics):
    assert [metrics()[notifications(outcome)] for outcome in ("delivered", "discarded")] == [0, 0]


def test_notifications_are_counted_by_events_when_their_message_is_settled(story, work, discord, gained):
    story.create_webhook()
    story.report_batch(*(record() for _ in range(7)))
    assert gained(notifications("delivered")) == 0
    work()
    assert gained(notifications("delivered")) == 7
    discord.fail(Fault(status=400, body={"code": 50035}))
    story.report_batch(record(), record())
    work(after=10)
    assert gained(notifications("discarded")) == 2
    assert gained(attempts("discard", 400)) == 1
    assert gained(notifications("delivered")) == 7


def test_what_is_given_up_behind_a_suspended_webhook_counts_as_discarded(story, work, discord, gained):
    story.create_webhook()
    discord.fail(Fault(status=404))
    story.report_batch(*(record() for _ in range(3)))
    work()
    assert gained(attempts("suspend", 404)) == 1
    assert gained(notifications("discarded")) == 0
    work(after=4 * 86_400)
    assert gained(notifications("discarded")) == 3


def test_counts_stay_when_what_was_counted_is_purged(story, work, gained):
    webhook_id = story.create_webhook("warning")
    story.report(status=404)
    work()
    work(after=31 * 86_400)
    assert story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"] == []
    assert gained(attempts("delivered", 200)) == gained(notifications("delivered")) == 1


def test_a_dispatcher_that_stops_writes_down_what_it_counted(app, story, make_dispatchers, gained):
    story.create_webhook()
    story.report()
    dispatcher = make_dispatchers()
    with app.app_context():
        dispatcher.run_until_idle()
        dispatcher.stop()
        dispatcher.run()
    assert gained(attempts("delivered", 200)) == 1


def test_several_dispatchers_count_together(app, ana, make_dispatchers, clock, gained):
    for domain, dispatcher in (("a.example", make_dispatchers()), ("b.example", make_dispatchers())):
        story = Story(ana, domain=domain)
        story.create_webhook(value=str(len(domain)) if domain == "a.example" else WEBHOOK_URL)
        story.report()
        with app.app_context():
            dispatcher.run_until_idle()
            dispatcher.run_until_idle()
    assert gained(attempts("delivered", 200)) == 2


def test_what_is_left_of_the_invalid_requests_counts_down_and_starts_anew(story, work, discord, clock, metrics):
    names = [f'arkyn_invalid_requests{part}{{kind="channels"}}' for part in ("", "_left")]
    story.create_webhook()
    assert [metrics()[name] for name in names] == [0, discord_limits.INVALID_BUDGET]
    discord.fail(Fault(status=429, body={"retry_after": 1}))
    story.report()
    work()
    assert [metrics()[name] for name in names] == [1, discord_limits.INVALID_BUDGET - 1]


def test_sqlite_finds_what_is_open_without_a_look_at_the_history(app, metrics):
    asked = []
    with app.app_context():
        if db.engine.dialect.name != "sqlite":
            pytest.skip("PostgreSQL's plan depends on what is in the tables")
        listener = db.engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2:4])
        event.listen(*listener)
        metrics()
        event.remove(*listener)
        plans = [db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", args) for sql, args in asked]
        steps = [row[-1] for plan in plans for row in plan]
    looks = [step for step in steps if re.search("deliveries|webhooks", step)]
    assert len(looks) == 5
    assert [step for step in looks if "INDEX" not in step] == []


def test_an_alarm_shows(story, work, discord, metrics):
    story.create_webhook()
    discord.fail(Fault(status=401))
    story.report()
    assert metrics()['arkyn_alarm{kind="channels"}'] == 0
    work()
    assert metrics()['arkyn_alarm{kind="channels"}'] == 1
    assert metrics()['arkyn_alarm{kind="webhooks"}'] == 0


def test_the_last_sign_of_a_dispatcher_shows(app, clock, make_dispatchers, metrics):
    assert metrics()["arkyn_dispatcher_last_seen_seconds"] == float("inf")
    clock.advance(-100)
    with app.app_context():
        make_dispatchers().work()
    assert 100 <= metrics()["arkyn_dispatcher_last_seen_seconds"] < 200


def test_without_its_database_the_service_still_tells_of_its_requests(away, client, metrics):
    assert metrics()["arkyn_database_up"] == 1
    refused(away.post("/user/auth", {"email": "ana@example.com", "password": "x"}), 500)
    text = away.get("/metrics").text
    assert "\narkyn_database_up 0.0\n" in text
    assert requests("POST", "/user/auth", 500) in text
    assert "arkyn_deliveries" not in text
