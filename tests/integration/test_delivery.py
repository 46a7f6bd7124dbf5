"""From a reported record to a message in Discord."""

import re

import pytest

from app import __version__
from app.delivery.retry import DELAYS_SECONDS
from tools.fake_discord import Fault
from tools.story import WEBHOOK_URL


def deliveries(story, webhook_id, **query):
    answer = story.client.get(f"/webhooks/{webhook_id}/deliveries", query_string=query)
    assert answer.status_code == 200
    return answer.json["data"]


def test_a_record_of_a_webhooks_level_becomes_a_message_in_the_channel(story, dispatch, discord):
    story.create_webhook("fatal")
    story.report(status=500, method="GET", pathnameUrl="/orders/123")
    dispatch()
    (message,) = discord.posted_to("channels/123456789")
    (embed,) = message.body["embeds"]
    assert embed["title"] == "`GET api.payments.com/orders/123`"
    assert "500" in embed["description"]


def test_records_of_other_levels_make_no_message(story, dispatch, discord):
    story.create_webhook("fatal")
    story.report(status=404)
    story.report(status=200)
    assert dispatch() == 0
    assert discord.messages == []


def test_a_channel_gets_its_message_from_the_bot_with_a_nonce(story, dispatch, discord):
    story.create_webhook()
    story.report()
    dispatch()
    (message,) = discord.messages
    assert message.headers["Authorization"] == f"Bot {discord.bot_token}"
    assert re.fullmatch(rf"DiscordBot \(https?://\S+, {__version__}\)", message.headers["User-Agent"])
    assert message.body["enforce_nonce"] is True
    assert 0 < len(message.body["nonce"]) <= 25
    assert message.body["allowed_mentions"] == {"parse": []}


def test_a_webhook_url_is_called_by_its_parts_and_waits_for_the_answer(story, dispatch, discord):
    story.create_webhook(value=f"{WEBHOOK_URL}?thread_id=42")
    story.report()
    dispatch()
    (message,) = discord.posted_to("webhooks/987654321")
    assert message.query == {"wait": "true", "thread_id": "42"}
    assert "Authorization" not in message.headers
    assert "nonce" not in message.body


def test_a_delivered_message_is_settled_with_its_id(story, dispatch, discord):
    webhook_id = story.create_webhook()
    story.report()
    (pending,) = deliveries(story, webhook_id)
    assert (pending["state"], pending["eventCount"], pending["attempts"]) == ("pending", 1, 0)
    dispatch()
    (delivered,) = deliveries(story, webhook_id)
    assert delivered["id"] == pending["id"]
    assert (delivered["state"], delivered["attempts"]) == ("delivered", 1)
    assert delivered["messageId"] == discord.messages[0].id
    assert delivered["deliveredAt"] is not None
    assert delivered["nextAttemptAt"] is delivered["lastError"] is None


def test_a_message_that_discord_took_but_could_not_confirm_is_repeated_with_its_nonce(story, dispatch, discord, clock):
    story.create_webhook()
    discord.fail(Fault(status=500, accept=True))
    story.report()
    dispatch()
    clock.advance(DELAYS_SECONDS[0])
    dispatch()
    assert len(discord.requests) == 2
    assert len(discord.messages) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_tried_again_after_the_first_delay_and_not_before(story, dispatch, discord, clock, status):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=status))
    story.report()
    dispatch()
    (waiting,) = deliveries(story, webhook_id)
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    assert str(status) in waiting["lastError"]
    assert dispatch() == 0
    clock.advance(DELAYS_SECONDS[0])
    assert dispatch() == 1
    assert len(discord.messages) == 1


def test_a_broken_connection_is_tried_again(story, dispatch, discord, clock):
    story.create_webhook()
    discord.fail(Fault(drop=True))
    story.report()
    dispatch()
    clock.advance(DELAYS_SECONDS[0])
    dispatch()
    assert len(discord.messages) == 1


def test_a_message_that_fails_for_a_day_is_discarded_with_the_last_reason(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.outage = Fault(status=503)
    story.report()
    began = clock()
    for delay in (0, *DELAYS_SECONDS):
        clock.advance(delay + 1)
        assert dispatch() == 1
    assert 20 < (clock() - began).total_seconds() / 3600 < 28
    (discarded,) = deliveries(story, webhook_id)
    assert discarded["state"] == "discarded"
    assert "503" in discarded["lastError"]


def test_what_is_new_at_a_failing_destination_waits_for_minutes_not_for_the_next_retry(story, dispatch, discord, clock):
    story.create_webhook()
    discord.outage = Fault(status=503)
    story.report(pathnameUrl="/old")
    for delay in (0, *DELAYS_SECONDS[:10]):
        clock.advance(delay + 1)
        dispatch()
    discord.outage = None
    story.report(pathnameUrl="/new")
    clock.advance(301)
    dispatch()
    paths = [message.body["embeds"][0]["title"] for message in discord.messages]
    assert len(paths) == 1
    assert "/new" in paths[0]
    clock.advance(10)
    dispatch()
    assert len(discord.messages) == 2


def test_a_message_refused_for_its_form_is_discarded_and_the_next_goes_on(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=400, body={"code": 50035, "message": "Invalid Form Body"}))
    story.report()
    dispatch()
    clock.advance(10)
    story.report()
    dispatch()
    newest, oldest = deliveries(story, webhook_id)
    assert oldest["state"] == "discarded"
    assert "50035" in oldest["lastError"]
    assert newest["state"] == "delivered"


def test_deliveries_are_listed_newest_first_by_page_and_state(story, dispatch, clock):
    webhook_id = story.create_webhook()
    for _ in range(3):
        story.report()
        dispatch()
        clock.advance(10)
    story.report()
    states = [delivery["state"] for delivery in deliveries(story, webhook_id)]
    assert states == ["pending", "delivered", "delivered", "delivered"]
    assert len(deliveries(story, webhook_id, state="delivered", pageLimit=2)) == 2
    assert len(deliveries(story, webhook_id, state="delivered", pageLimit=2, page=2)) == 1
    assert deliveries(story, webhook_id, state="discarded") == []


def test_the_attempts_of_a_delivery_tell_what_discord_said_each_time(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=500, body={"code": 0, "message": "oops"}))
    story.report()
    dispatch()
    clock.advance(DELAYS_SECONDS[0])
    dispatch()
    (delivery,) = deliveries(story, webhook_id)
    first, second = story.client.get(f"/deliveries/{delivery['id']}/attempts").json
    assert (first["outcome"], first["status"]) == ("retry", 500)
    assert "oops" in first["reason"]
    assert (second["outcome"], second["status"]) == ("delivered", 200)


def test_a_settled_delivery_can_be_sent_again(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    story.report()
    dispatch()
    (delivery,) = deliveries(story, webhook_id)
    answer = story.client.post(f"/deliveries/{delivery['id']}/redeliver")
    assert answer.status_code == 202
    assert answer.json["state"] == "pending"
    clock.advance(10)
    dispatch()
    assert len(discord.messages) == 2


def test_a_waiting_retry_can_be_hurried(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(Fault(status=500), Fault(status=500))
    story.report()
    dispatch()
    clock.advance(DELAYS_SECONDS[0])
    dispatch()
    (delivery,) = deliveries(story, webhook_id)
    assert story.client.post(f"/deliveries/{delivery['id']}/redeliver").status_code == 202
    clock.advance(16)
    dispatch()
    assert len(discord.messages) == 1


def test_another_users_deliveries_are_out_of_reach(story, bob, dispatch):
    webhook_id = story.create_webhook()
    story.report()
    dispatch()
    (delivery,) = deliveries(story, webhook_id)
    assert bob.get(f"/webhooks/{webhook_id}/deliveries").status_code == 403
    assert bob.post(f"/deliveries/{delivery['id']}/redeliver").status_code == 403
    assert bob.get(f"/deliveries/{delivery['id']}/attempts").status_code == 403
    assert bob.post("/deliveries/nonsense/redeliver").status_code == 404


def test_a_webhook_deleted_with_something_pending_takes_it_along(story, dispatch, discord):
    webhook_id = story.create_webhook()
    story.report()
    assert story.client.delete(f"/webhooks/{webhook_id}").status_code == 204
    assert dispatch() == 0
    assert discord.messages == []
