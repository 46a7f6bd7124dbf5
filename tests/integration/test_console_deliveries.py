"""The console: what the message of each delivery tells, and its new state after a redelivery."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from app.digests import AlertChange, Recovery, Reminder, to_milliseconds
from app.extensions import db
from app.models import Delivery, Webhook
from app.models.columns import utcnow
from app.repositories import outbox
from tests.integration.helpers import write
from tests.integration.pages import Elements, note_of
from tests.integration.test_console_sources import CANARY, texts
from tools.fake_discord import Fault
from tools.story import record

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
AT_MILLISECONDS = to_milliseconds(AT)
RATE = AlertChange("errorRate", True, 12.5, 5.0, 10, 80, AT_MILLISECONDS)
OVER = AlertChange("silence", False, 0.0, None, 15, 0, AT_MILLISECONDS, AT_MILLISECONDS - 3_600_000)


@pytest.fixture
def webhook_id(story):
    return story.create_webhook()


@pytest.fixture
def path(webhook_id):
    return f"/console/webhooks/{webhook_id}/deliveries"


@pytest.fixture
def delivery_path(ana, webhook_id):
    """The page of the newest delivery."""
    return lambda: f"/console/deliveries/{ana.get(f'/webhooks/{webhook_id}/deliveries').json['data'][0]['id']}"


def report(story, *statuses, path="/orders/{}"):
    story.report_batch(
        *(record(status=status, pathnameUrl=path.format(number)) for number, status in enumerate(statuses))
    )


def test_the_most_frequent_group_is_told_and_how_many_more_there_are(person, story, path, delivery_path, dispatch):
    report(story, 503)
    dispatch()
    assert "1 fatal event · GET /orders/{id} 503 1 Delivered" in texts(person.get(path))
    report(story, 500, 503, 503, 503)
    assert "4 fatal events · GET /orders/{id} 503 , and 1 more group" in texts(person.get(path))
    told = texts(person.get(delivery_path()))
    assert "What it tells 4 fatal events · GET /orders/{id} 503 , and 1 more group Made" in told
    assert "Slowest GET /orders/{id} 503 3 13 ms 13 ms GET /orders/{id} 500 1 13 ms 13 ms Attempts" in told


def test_of_many_groups_those_that_the_message_shows_are_listed_and_the_others_counted(
    person, story, path, delivery_path, dispatch, monkeypatch
):
    story.report_batch(*(record(pathnameUrl=f"/{'abcdefghijkl'[number % 12]}") for number in range(24)))
    dispatch()
    assert "24 fatal events · GET /a 500 , and 11 more groups" in texts(person.get(path))
    page = person.get(delivery_path())
    assert "+4 more in 2 groups" in texts(page)
    shown = page.text.partition('id="told"')[2]
    assert len(re.findall(r'<a href="/console/sources/[^"]+pathname=', shown)) == 10
    link = re.search(r'<a href="([^"]+pathname=[^"]+)"', shown)[1].replace("&amp;", "&")
    assert person.get(link).text.count("/console/records/") == 2
    monkeypatch.setattr("app.console.views.deliveries.MAX_DIGEST_BYTES", 100)
    assert "24 fatal events 1 Delivered" in texts(person.get(path))


@pytest.mark.parametrize(
    ("notice", "in_short", "whole"),
    [
        (
            Recovery(12, AT_MILLISECONDS, AT_MILLISECONDS, AT_MILLISECONDS + 600_000),
            "Recovery · Recovered: no fatal event for 10 minutes",
            "12 fatal events from 2 Jan, 03:04 UTC to",
        ),
        (
            Reminder(1_200, AT_MILLISECONDS, last_at=AT_MILLISECONDS + 60_000),
            "Reminder · Still going on: fatal events",
            "1,200 fatal events since 2 Jan, 03:04 UTC , last 2 Jan, 03:05 UTC",
        ),
        (
            RATE,
            "Alert · Failing: error rate 12.5 %",
            "12.5 % fatal among 80 requests in 10 minutes before 2 Jan, 03:04 UTC ; fires at 5 %",
        ),
        (OVER, "Alert · Over: requests come again", "Fires after 15 minutes It fired 2 Jan, 02:04 UTC"),
    ],
    ids=["recovery", "reminder", "alert", "over"],
)
def test_a_notice_is_told_in_the_words_of_its_message(
    app, person, webhook_id, path, delivery_path, notice, in_short, whole
):
    with app.app_context():
        outbox.put(webhook_id, notice, utcnow())
        db.session.commit()
    assert in_short in texts(person.get(path))
    told = texts(person.get(delivery_path()))
    assert in_short in told
    assert whole in told


@pytest.mark.parametrize("digest", ["{", "{}", '{"groups": 1}', '{"alert": {"kind": "x"}}', '{"alert": []}'])
def test_what_cannot_be_read_says_so_and_hides_nothing_else(app, person, story, path, delivery_path, digest):
    report(story, 500, 500)
    write(app, update(Delivery).values(digest=digest))
    assert "2 fatal events" in texts(person.get(path))
    assert "What is stored of this message cannot be read." in texts(person.get(delivery_path()))


def test_hostile_text_is_shown_as_text(person, story, path, delivery_path):
    story.report_batch(*(record(pathnameUrl=f"/{CANARY}<t:1:f>**\N{RIGHT-TO-LEFT OVERRIDE}"),) * 2)
    for page in (person.get(path), person.get(delivery_path())):
        assert "<script>alert" not in page.text
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page.text
        assert not Elements(page).of("img")[1:]


def test_after_a_redelivery_its_page_shows_the_new_state_and_refreshes_itself_until_it_is_settled(
    person, story, path, delivery_path, discord, dispatch, clock
):
    discord.fail(Fault(400, {"code": 50035, "message": "Invalid Form Body"}))
    report(story, 500)
    dispatch()
    page = person.get(delivery_path())
    assert "State discarded" in texts(page)
    assert "data-hx-trigger" not in page.text
    page = person.submit(f"{delivery_path()}/redeliver")
    assert (page.request.path, note_of(page)) == (delivery_path(), "The message is sent again.")
    assert "State pending" in texts(page)
    assert 'data-hx-trigger="every 5s"' in page.text
    clock.advance(timedelta(minutes=1).total_seconds())
    dispatch()
    fragment = person.get(delivery_path(), headers={"HX-Request": "true"}).text
    assert fragment.lstrip().startswith('<div id="delivery">')
    assert "delivered</span>" in fragment


def test_after_a_redelivery_from_the_list_the_list_shows_the_new_state(
    person, story, path, delivery_path, discord, dispatch
):
    discord.fail(Fault(400, {"code": 50035, "message": "Invalid Form Body"}))
    report(story, 500)
    dispatch()
    fields = {each["name"]: each["value"] for each in Elements(person.get(path)).of("input") if each["name"] == "from"}
    page = person.submit(f"{delivery_path()}/redeliver", **fields)
    assert (page.request.path, note_of(page)) == (path, "The message is sent again.")
    assert '<span class="state pending">' in page.text


def test_a_message_of_a_suspended_webhook_is_said_to_wait(app, person, story, delivery_path, dispatch):
    report(story, 500)
    dispatch()
    write(app, update(Webhook).values(state="suspended"))
    page = person.submit(f"{delivery_path()}/redeliver")
    assert note_of(page) == "The message waits until its suspended webhook is resumed."
    assert "State pending" in texts(page)
