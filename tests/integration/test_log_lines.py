"""What one line a request and one line a try to deliver tell, as fields for machines."""

import logging

import pytest

from tools.fake_discord import Fault
from tools.story import UNKNOWN_ID, WEBHOOK_URL, record


@pytest.fixture
def lines(caplog):
    """The fields of the lines that a logger wrote so far, newest last."""
    caplog.set_level(logging.INFO)

    def read(logger: str, *names: str) -> list[tuple]:
        records = [each for each in caplog.records if each.name == logger]
        return [tuple(getattr(each, name, None) for name in names) for each in records]

    return read


def test_a_line_names_user_and_source_where_they_are_known(story, ana, lines):
    user_id = ana.get("/user").json["id"]
    webhook_id = story.create_webhook()
    ana.put(f"/webhooks/{webhook_id}", {"value": "42"})
    ana.get("/nowhere")
    asked = lines("app.requests", "method", "route", "status", "user_id", "source_id")
    assert asked[-4:] == [
        ("GET", "/user", 200, user_id, None),
        ("POST", "/webhooks/<id:traffic_source_id>", 201, user_id, story.source_id),
        ("PUT", "/webhooks/<id:webhook_id>", 200, user_id, story.source_id),
        ("GET", "(unknown path)", 404, None, None),
    ]


def test_a_line_about_a_report_names_its_source_however_it_is_reported(story, client, lines):
    user_id = story.client.get("/user").json["id"]
    token = story.create_token()["token"]
    client.token = token
    client.post(f"/http-traffic-records/{story.source_id}", record())
    client.post("/ingest-log", record(trafficSourceId=story.source_id))
    story.client.post("/ingest-log", record(trafficSourceId=story.source_id))
    assert lines("app.requests", "user_id", "source_id")[-3:] == [
        (None, story.source_id),
        (None, story.source_id),
        (user_id, story.source_id),
    ]
    assert token not in str(lines("app.requests", "message"))


def test_a_source_that_is_no_id_is_not_repeated(ana, lines):
    ana.post("/ingest-log", record(trafficSourceId="canary"))
    ana.get("/webhooks/canary")
    assert "canary" not in str(lines("app.requests", "message", "source_id"))


def test_a_method_nobody_knows_is_not_repeated(client, lines):
    client.request("CANARY", "/user")
    assert lines("app.requests", "method", "status")[-1] == ("OTHER", 405)


def test_the_request_id_and_duration_are_fields_too(client, lines):
    answer = client.get("/healthz")
    ((request_id, duration),) = lines("app.requests", "request_id", "duration_ms")
    assert request_id == answer.headers["X-Request-Id"]
    assert 0 <= duration < 5000


def test_a_try_is_one_line_that_names_what_became_of_it(story, dispatch, discord, clock, lines):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    discord.fail(Fault(status=500), Fault(status=404, body={"code": 10015}))
    story.report_batch(record(), record())
    dispatch()
    clock.advance(10)
    dispatch()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    names = ("delivery_id", "webhook_id", "kind", "events", "attempt", "outcome", "status", "discord_code", "state")
    assert lines("app.delivery.settling", *names) == [
        (delivery["id"], webhook_id, "webhooks", 2, 1, "retry", 500, None, "pending"),
        (delivery["id"], webhook_id, "webhooks", 2, 2, "suspend", 404, 10015, "pending"),
    ]


def test_an_unexpected_error_is_logged_with_the_request_id(ana, lines, monkeypatch):
    monkeypatch.setattr("app.repositories.webhooks.list_of", lambda *_: 1 / 0)
    answer = ana.get(f"/webhooks/{ana.create_source()}")
    ((request_id, message),) = lines("app.api.errors", "request_id", "message")
    assert request_id == answer.headers["X-Request-Id"]
    assert request_id in message
    assert UNKNOWN_ID not in message
