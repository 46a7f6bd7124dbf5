"""The console: its verdict of a source whose fatal webhook's policy leaves events out agrees with Discord."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from app.extensions import db
from app.models import Delivery, Webhook
from app.models.columns import utcnow
from app.repositories import event_minutes
from tests.integration.test_console_sources import minutes_ago, path_of, texts
from tools.story import Story, record

HEALTH = {"pathname": "/health*"}


@pytest.fixture
def policy(story):
    """Sets a policy of the fatal webhook, and returns its id."""
    webhook_id = story.create_webhook()

    def set_policy(**policy):
        assert story.client.put(f"/webhooks/{webhook_id}/policy", policy).status_code == 200
        return webhook_id

    return set_policy


@pytest.fixture
def verdict(person, story):
    """What the overview and the list say of the source."""

    def read():
        page = person.get(path_of(story)).text
        overview = re.search('class="verdict.*?</section>', page, re.DOTALL)[0]
        listed = re.search('class="states">(.*?)</li>', person.get("/console/sources").text, re.DOTALL)[1]
        return tuple(
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", part.partition(">")[2]))
            for part in (overview, f"<div>{listed}")
        )

    return read


def failing_health(number=3):
    return [record(status=503, pathnameUrl="/health/db") for _ in range(number)]


def test_what_the_policy_ignores_makes_no_page_red(policy, story, verdict):
    policy(ignore=[HEALTH])
    story.report_batch(*failing_health(), record(status=200))
    overview, listed = verdict()
    assert "No failure to tell" in overview
    assert "Of 4 requests in the last 24 hours, 3 requests answered with 500 or above are not told" in overview
    assert "No failure to tell in the last 24 hours" in listed


def test_without_a_policy_every_failure_counts(policy, story, verdict):
    policy(ignore=[])
    story.report_batch(*failing_health())
    assert all("Failing since" in said for said in verdict())


def test_beside_what_is_ignored_the_events_are_judged_and_named(policy, story, verdict, dispatch):
    policy(ignore=[HEALTH])
    story.report_batch(*failing_health(9), *(record(status=500, pathnameUrl="/pay") for _ in range(2)))
    for _ in ("waiting", "told"):
        overview, listed = verdict()
        assert "Failing since" in listed
        assert re.search(r"Failing since [^:]*\d\d:\d\d UTC : GET /pay 500", overview)
        assert "2 requests failed" in overview
        assert "9 other requests answered with 500 or above are not told" in overview
        dispatch()


def test_one_event_beside_what_is_ignored_is_one_failed_request(policy, story, verdict):
    policy(ignore=[HEALTH])
    story.report_batch(*failing_health(), record(status=500, pathnameUrl="/pay"))
    overview, listed = verdict()
    assert "One request failed, at" in listed
    assert "One request failed, at" in overview
    assert "3 other requests answered with 500 or above are not told" in overview


def test_it_is_over_on_the_page_as_soon_as_discord_was_told_so(policy, story, verdict, dispatch, discord, clock):
    policy(ignore=[HEALTH])
    story.report_batch(*(record(status=500, pathnameUrl="/pay") for _ in range(2)))
    dispatch()
    assert all("Failing since" in said for said in verdict())
    clock.advance(400)
    dispatch()
    story.report_batch(*failing_health())
    assert "Recovered" in discord.messages[-1].body["embeds"][0]["title"]
    dispatch()
    overview, listed = verdict()
    assert "It is over" in listed
    assert "It is over" in overview
    assert "2 requests failed. None has failed since." in overview
    assert "3 other requests" in overview


def test_what_gathered_into_one_message_is_over_with_its_last_event(app, policy, story, verdict, dispatch, clock):
    policy(ignore=[HEALTH])
    story.report_batch(record(status=500), record(status=500))
    first_event_at = utcnow() - timedelta(minutes=30)
    with app.app_context():
        db.session.execute(update(Delivery).values(created_at=first_event_at))
        db.session.commit()
    dispatch()
    clock.advance(400)
    dispatch()
    _, listed = verdict()
    begun, ended = re.findall(r"\d\d:\d\d", listed.partition("It is over")[2])[:2]
    assert begun == f"{first_event_at:%H:%M}"
    assert ended != begun


def test_a_time_that_a_wrong_clock_wrote_holds_no_page_up(app, policy, story, verdict, dispatch):
    policy(ignore=[HEALTH])
    story.report_batch(record(status=500), record(status=500))
    dispatch()
    with app.app_context():
        db.session.execute(update(Webhook).values(last_event_at=datetime(9999, 1, 1, tzinfo=UTC)))
        db.session.commit()
    assert all("Failing since" in said for said in verdict())


def test_an_incident_that_was_reported_late_begins_with_its_first_event(policy, story, verdict, dispatch):
    policy(ignore=[HEALTH])
    times = [minutes_ago(40 - number) for number in range(39)]
    story.report_batch(*(record(status=500, pathnameUrl="/pay", occurredAt=time) for time in times))
    dispatch()
    overview, _ = verdict()
    assert re.search(rf"Failing since [^:]*{times[0][11:16]} UTC", overview)
    assert "39 requests failed" in overview


def test_what_a_threshold_holds_back_makes_no_page_red_until_it_is_reached(policy, story, verdict, dispatch):
    policy(threshold={"events": 3, "seconds": 60})
    story.report_batch(*failing_health(2))
    dispatch()
    assert all("No failure to tell" in said for said in verdict())
    story.report_batch(*failing_health(2))
    dispatch()
    story.report_batch(*failing_health(1))
    overview, listed = verdict()
    assert "Failing since" in listed
    assert "5 requests failed" in overview


def test_a_muted_webhook_still_tells_the_page(policy, story, verdict, dispatch):
    webhook_id = policy(ignore=[HEALTH])
    assert story.client.post(f"/webhooks/{webhook_id}/mute", {"until": minutes_ago(-600)}).status_code == 200
    story.report(status=500)
    story.report(status=500)
    assert dispatch() == 0
    assert all("Failing since" in said for said in verdict())


def test_more_deliveries_than_are_read_are_said_to_be_more(policy, story, verdict, monkeypatch):
    monkeypatch.setattr(event_minutes, "MAX_ROWS", 2)
    policy(ignore=[HEALTH])
    for _ in range(3):
        story.report_batch(record(status=500), record(status=500))
    overview, listed = verdict()
    assert "At least 4 requests failed" in overview
    assert "(longer ago than is looked at)" in listed


def test_a_list_of_many_sources_reads_no_more_deliveries_than_a_list_of_few(person, ana, monkeypatch):
    monkeypatch.setattr(event_minutes, "MAX_ROWS_TOGETHER", 6)
    for number in range(3):
        story = Story(ana, domain=f"s{number}.example.com")
        webhook_id = story.create_webhook(value=str(100 + number))
        story.client.put(f"/webhooks/{webhook_id}/policy", {"ignore": [HEALTH]})
        for _ in range(number + 1):
            story.report_batch(record(status=500), record(status=500))
    listed = texts(person.get("/console/sources"))
    assert listed.count("Failing since") == 3
    assert listed.count("(longer ago than is looked at)") == 2, "two deliveries are read of each"


def test_many_sources_with_policies_are_judged_in_one_statement(person, ana, statements):
    for number in range(3):
        story = Story(ana, domain=f"s{number}.example.com")
        webhook_id = story.create_webhook(value=str(100 + number))
        story.client.put(f"/webhooks/{webhook_id}/policy", {"ignore": [HEALTH]})
        story.report_batch(*failing_health(1), record(status=500), record(status=500))
    statements.clear()
    assert texts(person.get("/console/sources")).count("Failing since") == 3
    assert len([sql for sql, _ in statements if "FROM deliveries" in sql]) == 1
