"""A storm becomes a few messages with exact counts."""

from app.delivery.retry import DELAYS_SECONDS, LONGEST_PAUSE
from tests.support import in_days
from tools.fake_discord import Fault
from tools.story import CHANNEL, record


def test_events_that_gather_while_a_window_runs_go_out_as_one_message(story, dispatch, discord, clock):
    story.create_webhook()
    story.report()
    dispatch()
    for _ in range(7):
        story.report()
    assert dispatch() == 0
    clock.advance(5)
    assert dispatch() == 1
    assert [message.events for message in discord.messages] == [1, 7]


def test_a_digest_groups_by_method_folded_path_and_status(story, dispatch, discord):
    story.create_webhook()
    story.report_batch(
        *(record(pathnameUrl=f"/orders/{number}", elapsedTime=number) for number in range(1, 11)),
        *(record(pathnameUrl="/login", method="post", status=503) for _ in range(3)),
    )
    dispatch()
    (message,) = discord.messages
    (embed,) = message.body["embeds"]
    assert embed["title"] == "`api.payments.com`"
    lines = embed["description"].split("\n")
    orders, login = lines.index("GET /orders/{id}"), lines.index("POST /login")
    assert lines[orders + 1].split()[:2] == ["500", "10"]
    assert lines[login + 1].split()[:2] == ["503", "3"]
    assert orders < login
    assert message.events == 13


def test_the_groups_beyond_ten_are_summed_up(story, dispatch, discord):
    story.create_webhook()
    story.report_batch(*(record(pathnameUrl=f"/page-{letter}") for letter in "abcdefghijklmno"))
    dispatch()
    (message,) = discord.messages
    (embed,) = message.body["embeds"]
    assert embed["description"].count("GET /page-") == 10
    assert message.body["content"].endswith("**15 fatal events**, +5 more in 5 groups")


def test_the_sum_over_all_messages_is_what_was_accepted(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    for number in range(6):
        story.report_batch(*(record(pathnameUrl=f"/p{index}/{number}") for index in range(200)))
        dispatch()
        clock.advance(1)
    clock.advance(5)
    dispatch()
    assert sum(message.events for message in discord.messages) == 1200
    assert len(discord.messages) < 6
    deliveries = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert sum(delivery["eventCount"] for delivery in deliveries) == 1200
    assert {delivery["state"] for delivery in deliveries} == {"delivered"}


def test_a_message_that_is_retried_takes_nothing_new_in(story, dispatch, discord, clock):
    story.create_webhook()
    discord.fail(Fault(status=500, accept=True))
    story.report()
    dispatch()
    story.report()
    clock.advance(6)
    dispatch()
    clock.advance(6)
    dispatch()
    assert [message.events for message in discord.messages] == [1, 1]
    assert len(discord.requests) == 3


def test_events_keep_their_level_when_their_webhooks_is_changed(story, dispatch, discord, clock):
    webhook_id = story.create_webhook("warning")
    story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(1)})
    story.report_batch(record(status=404), record(status=404))
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": CHANNEL, "level": "fatal"}).status_code == 200
    story.client.delete(f"/webhooks/{webhook_id}/mute")
    dispatch()
    story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(1)})
    story.report_batch(record(status=500))
    assert story.client.put(f"/webhooks/{webhook_id}", {"value": CHANNEL, "level": "info"}).status_code == 200
    story.report_batch(record(status=200))
    story.client.delete(f"/webhooks/{webhook_id}/mute")
    dispatch()
    assert [message.body["content"] for message in discord.messages] == [
        "🟠 **2 warning events**",
        "🔴 **2 fatal and info events**",
    ]


def test_each_level_of_a_channel_gathers_by_itself(story, dispatch, discord):
    story.create_webhook("fatal")
    story.create_webhook("warning")
    story.report(status=500)
    story.report(status=404)
    dispatch()
    descriptions = sorted(message.body["embeds"][0]["description"] for message in discord.messages)
    assert len(descriptions) == 2
    assert "**Fatal** · 500" in descriptions[0]
    assert "**Warning** · 404" in descriptions[1]


def test_what_gathers_behind_a_message_that_was_tried_is_merged_without_it(story, dispatch, discord, clock):
    """Discord may have posted it: with other content it would be told twice."""
    story.create_webhook()
    discord.outage = Fault(status=503)
    story.report(pathnameUrl="/tried")
    for delay in (0, *DELAYS_SECONDS[:8]):
        clock.advance(delay + 1)
        dispatch()
    (nonce,) = {request.body["nonce"] for request in discord.requests}
    discord.outage = None
    for _ in range(3):
        story.report(pathnameUrl="/new")
    clock.advance(LONGEST_PAUSE.total_seconds() + 1)
    dispatch()
    assert [message.events for message in discord.messages] == [3]
    clock.advance(10)
    dispatch()
    merged, tried = discord.messages
    assert "/new" in merged.body["embeds"][0]["title"]
    assert tried.events == 1
    assert "/tried" in tried.body["embeds"][0]["title"]
    assert tried.body["nonce"] == nonce != merged.body["nonce"]
