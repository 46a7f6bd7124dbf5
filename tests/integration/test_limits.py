"""Discord's limits: kept to, shared between dispatchers, and never the cause of a loss."""

import pytest

from app.cli import make_dispatcher
from tools.fake_discord import Fault
from tools.story import CHANNEL, WEBHOOK_URL, Story


def rate_limit(retry_after, scope="user", **headers):
    return Fault(
        status=429,
        body={"message": "You are being rate limited.", "retry_after": retry_after, "global": scope == "global"},
        headers={"Retry-After": str(int(retry_after) + 1), "X-RateLimit-Scope": scope, **headers},
    )


def test_a_rate_limited_message_waits_as_long_as_told_and_costs_no_attempt(story, dispatch, discord, clock):
    webhook_id = story.create_webhook()
    discord.fail(rate_limit(7.5))
    story.report()
    dispatch()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert (delivery["state"], delivery["attempts"]) == ("pending", 0)
    clock.advance(7)
    assert dispatch() == 0
    clock.advance(1)
    assert dispatch() == 1
    assert len(discord.messages) == 1


def test_a_used_up_limit_is_waited_out_without_a_single_429(story, dispatch, discord, clock):
    discord.limit = (1, 60.0)
    story.create_webhook("fatal")
    story.create_webhook("warning")
    story.report(status=500)
    story.report(status=404)
    dispatch()
    clock.advance(30)
    assert dispatch() == 0
    discord.limit = None
    clock.advance(31)
    dispatch()
    assert len(discord.messages) == 2
    assert discord.rate_limited == 0


def test_a_limit_of_one_channel_delays_no_other(story, ana, dispatch, discord):
    other = Story(ana, domain="other.example.com")
    story.create_webhook()
    other.create_webhook(value="42")
    discord.fail(rate_limit(60), destination=f"channels/{CHANNEL}")
    story.report()
    other.report()
    dispatch()
    assert len(discord.posted_to("channels/42")) == 1


def test_a_global_limit_pauses_everything_the_bot_sends(story, ana, dispatch, discord, clock):
    other = Story(ana, domain="other.example.com")
    by_url = Story(ana, domain="url.example.com")
    story.create_webhook()
    other.create_webhook(value="42")
    by_url.create_webhook(value=WEBHOOK_URL)
    discord.fail(rate_limit(20, scope="global"), destination=f"channels/{CHANNEL}")
    story.report()
    dispatch()
    other.report()
    by_url.report()
    dispatch()
    assert [message.destination for message in discord.messages] == ["webhooks/987654321"]
    clock.advance(21)
    dispatch()
    assert len(discord.messages) == 3


def test_a_pause_is_kept_by_every_dispatcher(app, story, make_dispatchers, discord):
    first, second = make_dispatchers(), make_dispatchers()
    story.create_webhook()
    discord.fail(rate_limit(60))
    story.report()
    with app.app_context():
        assert first.run_until_idle() == 1
        assert second.run_until_idle() == 0


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (Fault(status=429, body={"message": "blocked"}), "blocks this host"),
        (Fault(status=401, body={"code": 0, "message": "401: Unauthorized"}), "DISCORD_BOT_TOKEN"),
    ],
)
def test_a_ban_or_a_refused_bot_token_stops_the_bot_with_an_alarm(
    story, ana, client, dispatch, discord, clock, fault, word
):
    webhook_id = story.create_webhook()
    other = Story(ana, domain="other.example.com")
    other.create_webhook(value="42")
    discord.fail(fault)
    story.report()
    dispatch()
    other.report()
    assert dispatch() == 0
    assert len(discord.requests) == 1
    assert word in client.get("/readyz").json["alarms"]["channels"]
    assert 'arkyn_alarm{kind="channels"} 1.0' in client.get("/metrics").text
    assert story.client.get(f"/webhooks/{webhook_id}/status").json["state"] == "active"
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert (delivery["state"], delivery["attempts"]) == ("pending", 0)
    clock.advance(15 * 60 + 1)
    dispatch()
    assert len(discord.messages) == 2


def test_without_a_bot_token_channels_wait_with_the_reason_and_webhook_urls_do_not(app, story, ana, make_app, discord):
    webhook_id = story.create_webhook()
    by_url = Story(ana, domain="url.example.com")
    by_url.create_webhook(value=WEBHOOK_URL)
    story.report()
    by_url.report()
    without_token = make_app(DISCORD_BOT_TOKEN="")
    with without_token.app_context():
        dispatcher = make_dispatcher(without_token.config)
        dispatcher.run_until_idle()
        dispatcher.pool.shutdown()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert delivery["state"] == "pending"
    assert "DISCORD_BOT_TOKEN" in delivery["lastError"]
    assert [message.destination for message in discord.messages] == ["webhooks/987654321"]


def test_too_many_refused_requests_pause_long_before_discord_would_block_the_host(
    story, dispatch, discord, clock, monkeypatch
):
    monkeypatch.setattr("app.repositories.discord_limits.INVALID_BUDGET", 3)
    story.create_webhook()
    discord.fail(*[rate_limit(1) for _ in range(9)])
    story.report()
    for _ in range(9):
        dispatch()
        clock.advance(2)
    assert len(discord.requests) == 3
    clock.advance(600)
    dispatch()
    assert len(discord.requests) == 4


def test_shared_limits_do_not_count_as_refused_requests(story, client, dispatch, discord):
    story.create_webhook()
    discord.fail(rate_limit(1, scope="shared"))
    story.report()
    dispatch()
    assert 'arkyn_invalid_requests{kind="channels"} 0.0' in client.get("/metrics").text
