"""Dead addresses, test sends, mutes, recovery notices."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.delivery.retry import DELAYS_SECONDS
from app.extensions import db
from app.models import Webhook
from app.models.columns import utcnow
from app.repositories import incidents
from tests.integration.helpers import write
from tests.support import in_days
from tools.fake_discord import Fault
from tools.story import WEBHOOK_TOKEN, WEBHOOK_URL, record

NO_PERMISSION = Fault(status=403, body={"code": 50013, "message": "Missing Permissions"})
UNKNOWN_WEBHOOK = Fault(status=404, body={"code": 10015, "message": "Unknown Webhook"})


def status(story, webhook_id):
    return story.client.get(f"/webhooks/{webhook_id}/status").json


@pytest.mark.parametrize("code", [10003, 10015, 50001, 50013, 50027, 40058, 160005, 220001])
def test_a_permanent_refusal_suspends_the_webhook_with_code_and_remedy(story, dispatch, discord, clock, code):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=403, body={"code": code, "message": "no"}))
    story.report()
    dispatch()
    told = status(story, webhook_id)
    assert told["state"] == "suspended"
    assert str(code) in told["reason"]
    assert told["pending"] == 1
    story.report()
    clock.advance(3600)
    assert dispatch() == 0
    assert status(story, webhook_id)["pending"] == 2


def test_a_put_brings_a_suspended_webhook_back_and_what_waited_goes_out_as_one(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(NO_PERMISSION)
    story.report()
    dispatch()
    for _ in range(4):
        story.report()
    clock.advance(10)
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": "42"}).status_code == 200
    dispatch()
    (message,) = discord.messages
    assert message.destination == "channels/42"
    assert message.events == 5
    told = status(story, webhook_id)
    assert (told["state"], told["reason"], told["pending"]) == ("active", None, 0)


def test_a_webhook_moved_while_a_retry_waits_tells_all_at_once_at_the_new_address(story, dispatch, discord):
    """The new channel has seen none of it: it is one message, of another nonce, and waits for no retry."""
    webhook_id = story.create_webhook(value="41")
    discord.fail(Fault(status=500))
    story.report()
    dispatch()
    for _ in range(2):
        story.report()
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": "42"}).status_code == 200
    dispatch()
    (message,) = discord.messages
    assert (message.destination, message.events) == ("channels/42", 3)
    assert message.body["nonce"] != discord.requests[0].body["nonce"]


def test_a_retry_of_one_event_goes_to_a_new_address_under_a_new_nonce(story, dispatch, discord):
    webhook_id = story.create_webhook(value="41")
    discord.fail(Fault(status=500))
    story.report()
    dispatch()
    story.client.put(f"/webhooks/{webhook_id}", {"value": "42"})
    dispatch()
    first, second = (request.body["nonce"] for request in discord.requests)
    assert first != second


def test_a_put_that_changes_no_address_hurries_no_retry(story, dispatch, discord, clock):
    webhook_id = story.create_webhook(value="42")
    discord.fail(Fault(status=500))
    story.report()
    dispatch()
    story.client.put(f"/webhooks/{webhook_id}", {"value": "42"})
    assert dispatch() == 0
    clock.advance(DELAYS_SECONDS[0])
    dispatch()
    first, second = (request.body["nonce"] for request in discord.requests)
    assert first == second


def test_a_suspended_webhook_that_is_brought_back_stays_muted(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(NO_PERMISSION)
    story.report()
    dispatch()
    until = (utcnow() + timedelta(hours=1)).isoformat()
    assert story.client.post(f"/webhooks/{webhook_id}/mute", {"until": until}).status_code == 200
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": "42"}).status_code == 200
    told = status(story, webhook_id)
    assert (told["state"], told["pending"]) == ("active", 1)
    assert told["mutedUntil"] is not None
    story.report()
    for _ in range(3):
        clock.advance(1190)
        assert dispatch() == 0
    clock.advance(31)
    dispatch()
    assert [(message.destination, message.events) for message in discord.messages] == [("channels/42", 2)]


def test_a_passing_test_brings_a_suspended_webhook_back(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(NO_PERMISSION)
    story.report()
    dispatch()
    clock.advance(10)
    answer = story.client.post(f"/webhooks/{webhook_id}/test")
    assert answer.status_code == 200
    assert answer.json == {"ok": True, "status": 200, "discordCode": None, "message": "The test message was delivered."}
    dispatch()
    test, event = discord.messages
    assert "Test message" in test.body["embeds"][0]["title"]
    assert event.events == 1
    assert status(story, webhook_id)["state"] == "active"


def test_a_failing_test_says_why_and_changes_nothing(story, discord):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    discord.fail(UNKNOWN_WEBHOOK)
    answer = story.client.post(f"/webhooks/{webhook_id}/test").json
    assert (answer["ok"], answer["status"], answer["discordCode"]) == (False, 404, 10015)
    assert "deleted" in answer["message"]
    assert WEBHOOK_TOKEN not in answer["message"]
    assert status(story, webhook_id)["state"] == "active"


def test_a_test_of_an_unreachable_discord_has_no_status(story, discord):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    discord.fail(Fault(drop=True))
    answer = story.client.post(f"/webhooks/{webhook_id}/test").json
    assert (answer["ok"], answer["status"], answer["discordCode"]) == (False, None, None)
    assert WEBHOOK_TOKEN not in answer["message"]


def test_what_waits_too_long_for_a_suspended_webhook_is_discarded_with_the_reason(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(NO_PERMISSION)
    story.report()
    dispatch()
    clock.advance(3 * 86_400 + 60)
    dispatch()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert delivery["state"] == "discarded"
    assert "suspended" in delivery["lastError"]
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": "42"}).status_code == 200
    story.report()
    dispatch()
    assert [message.events for message in discord.messages] == [1], "what was discarded stands in nobody's way"


def test_a_muted_webhook_gathers_and_tells_in_one_message_when_the_mute_ends(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    until = (utcnow() + timedelta(hours=1)).isoformat()
    answer = story.client.post(f"/webhooks/{webhook_id}/mute", {"until": until})
    assert answer.status_code == 200
    assert answer.json["mutedUntil"] is not None
    for _ in range(3):
        story.report()
    assert dispatch() == 0
    clock.advance(3601)
    dispatch()
    assert [message.events for message in discord.messages] == [3]


def test_a_mute_ended_early_lets_what_gathered_out_at_once(story, dispatch, discord):
    webhook_id = story.create_webhook()
    story.client.post(f"/webhooks/{webhook_id}/mute", {"until": (utcnow() + timedelta(hours=1)).isoformat()})
    story.report()
    story.report()
    assert story.client.delete(f"/webhooks/{webhook_id}/mute").status_code == 204
    dispatch()
    assert [message.events for message in discord.messages] == [2]


@pytest.mark.parametrize("until", ["2020-01-01T00:00:00Z", "tomorrow", None, 5])
def test_a_mute_needs_a_time_in_the_future(story, until):
    webhook_id = story.create_webhook()
    assert story.client.post(f"/webhooks/{webhook_id}/mute", {"until": until}).status_code == 400


def test_the_end_of_fatal_events_is_told_once_and_quietly(story, dispatch, discord, clock):
    story.create_webhook()
    story.report()
    story.report()
    dispatch()
    clock.advance(299)
    dispatch()
    assert len(discord.messages) == 1
    clock.advance(10)
    dispatch()
    clock.advance(600)
    dispatch()
    _, recovered = discord.messages
    assert "Recovered" in recovered.body["embeds"][0]["title"]
    assert "2 fatal events" in recovered.body["embeds"][0]["description"]
    assert recovered.body["flags"] == 4096


def test_what_is_reported_late_neither_ends_an_incident_nor_turns_its_times_round(story, dispatch, discord, clock):
    story.create_webhook()
    earlier = (clock() - timedelta(minutes=10)).isoformat()
    story.report_batch(record(), record())
    dispatch()
    clock.advance(10)
    story.report_batch(record(occurredAt=earlier), record(occurredAt=earlier))
    dispatch()
    clock.advance(200)
    dispatch()
    assert len(discord.messages) == 2, "the newest event is not old enough"
    clock.advance(200)
    dispatch()
    *_, recovered = discord.messages
    began, ended = map(int, re.findall(r"<t:(\d+):", recovered.body["embeds"][0]["description"]))
    assert "4 fatal events" in recovered.body["embeds"][0]["description"]
    assert 600 <= ended - began <= 610


def test_the_end_of_other_levels_is_not_told(story, dispatch, discord, clock):
    story.create_webhook("warning")
    story.report(status=404)
    dispatch()
    clock.advance(1000)
    dispatch()
    assert len(discord.messages) == 1


def test_status_and_test_of_another_users_webhook_are_refused(story, bob):
    webhook_id = story.create_webhook()
    assert bob.get(f"/webhooks/{webhook_id}/status").status_code == 403
    assert bob.post(f"/webhooks/{webhook_id}/test").status_code == 403
    assert bob.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(1)}).status_code == 403
    assert bob.delete(f"/webhooks/{webhook_id}/mute").status_code == 403


def test_what_somebody_asks_for_does_not_wait_for_the_digest_window(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    story.report()
    dispatch()
    assert story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(1)}).status_code == 200
    story.report()
    assert story.client.delete(f"/webhooks/{webhook_id}/mute").status_code == 204
    assert dispatch() == 1
    delivery = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"][0]["id"]
    assert story.client.post(f"/deliveries/{delivery}/redeliver").status_code == 202
    assert dispatch() == 1
    assert len(discord.messages) == 3


def test_a_mute_that_is_over_does_not_show(app, story):
    webhook_id = story.create_webhook()
    story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(1)})
    assert status(story, webhook_id)["mutedUntil"]
    write(app, update(Webhook).values(muted_until=utcnow() - timedelta(seconds=1)))
    assert status(story, webhook_id)["mutedUntil"] is None


def incident_events(app, webhook_id):
    with app.app_context():
        return db.session.get(Webhook, webhook_id).incident_events


def test_nothing_is_told_to_be_over_while_something_is_pending(app, story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    story.report_batch(record(), record())
    dispatch()
    clock.advance(10)
    discord.outage = Fault(status=503)
    story.report()
    for delay in (0, *DELAYS_SECONDS[:6]):
        clock.advance(delay + 1)
        dispatch()
    assert incident_events(app, webhook_id) == 2
    discord.outage = None
    clock.advance(DELAYS_SECONDS[6])
    dispatch()
    clock.advance(400)
    dispatch()
    titles = [message.body["embeds"][0]["title"] for message in discord.messages]
    assert ["Recovered" in title for title in titles] == [False, False, True]
    assert "3 fatal events" in discord.messages[-1].body["embeds"][0]["description"]


def test_what_is_pending_for_one_webhook_keeps_no_other_from_telling_that_it_is_over(story, dispatch, discord, clock):
    muted = story.create_webhook("warning", value="2")
    story.client.post(f"/webhooks/{muted}/mute", {"until": in_days(1)})
    story.create_webhook("fatal", value="1")
    story.report_batch(record(), record(), record(status=404))
    dispatch()
    clock.advance(400)
    dispatch()
    assert [message.destination for message in discord.messages] == ["channels/1"] * 2
    assert "Recovered" in discord.messages[1].body["embeds"][0]["title"]


def test_an_event_counts_once_in_its_incident_however_often_it_is_tried_and_told(app, story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=500, accept=True), Fault(status=503))
    story.report_batch(record(), record())
    for delay in (0, *DELAYS_SECONDS[:2]):
        clock.advance(delay)
        dispatch()
    assert incident_events(app, webhook_id) == 2
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    for faults in ([], [Fault(status=500)]):
        clock.advance(10)
        discord.fail(*faults)
        assert story.client.post(f"/deliveries/{delivery['id']}/redeliver").status_code == 202
        dispatch()
        clock.advance(DELAYS_SECONDS[0])
        dispatch()
        assert incident_events(app, webhook_id) == 2
    assert len(discord.messages) == 3


def test_an_event_that_was_discarded_and_is_told_after_all_counts_in_its_incident(app, story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=400, body={"code": 50035, "message": "Invalid Form Body"}))
    story.report()
    dispatch()
    assert incident_events(app, webhook_id) == 0
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    story.client.post(f"/deliveries/{delivery['id']}/redeliver")
    dispatch()
    assert incident_events(app, webhook_id) == 1


def test_nothing_is_told_to_be_over_that_failed_again_a_moment_ago(story, dispatch, discord, clock, monkeypatch):
    story.create_webhook()
    story.report_batch(record(), record())
    dispatch()
    clock.advance(310)
    list_over, beside = incidents.list_over, [story.report]

    def list_and_report(*arguments):
        found = list_over(*arguments)
        db.session.commit()
        if found and beside:
            beside.pop()()
        return found

    monkeypatch.setattr(incidents, "list_over", list_and_report)
    dispatch()
    clock.advance(6)
    dispatch()
    assert not beside
    assert not [message for message in discord.messages if "Recovered" in message.body["embeds"][0]["title"]]


def test_late_reports_of_one_failure_are_one_incident(story, dispatch, discord, clock):
    """A reporter sends in turns what it could not send for an hour."""
    story.create_webhook()
    an_hour_ago = (clock() - timedelta(hours=1)).isoformat()
    for _ in range(5):
        story.report_batch(record(occurredAt=an_hour_ago), record(occurredAt=an_hour_ago))
        dispatch()
        clock.advance(60)
        dispatch()
    assert "Recovered" not in str([message.body for message in discord.messages])
    clock.advance(310)
    dispatch()
    assert sum("Recovered" in str(message.body) for message in discord.messages) == 1
    assert "10 fatal events" in discord.messages[-1].body["embeds"][0]["description"]
