"""The console: webhooks and deliveries."""

import re

import pytest

from tests.integration.helpers import refused
from tests.integration.pages import alert_of, errors_of, note_of
from tests.integration.test_console_sources import texts
from tools.fake_discord import Fault
from tools.story import CHANNEL, WEBHOOK_TOKEN, WEBHOOK_URL, webhook


@pytest.fixture
def page_path(story):
    return f"/console/sources/{story.source_id}/webhooks"


@pytest.mark.parametrize("value", ["", "x", "https://evil.example.com/api/webhooks/1/a", "123456789012345678901"])
def test_an_address_that_the_api_refuses_is_refused_in_its_words_and_kept(ana, person, story, page_path, value):
    told = refused(ana.post(f"/webhooks/{story.source_id}", webhook(value=value)), 400)["errors"]["json"]["value"]
    page = person.post(page_path, level="warning", value=value)
    assert page.status_code == 400
    assert errors_of(page) == {"value": told[0]}
    assert f'value="{value}"' in page.text
    assert 'value="warning" selected' in page.text


def test_a_taken_level_is_refused_beside_its_field(person, story, page_path):
    story.create_webhook()
    page = person.post(page_path, level="fatal", value="42")
    assert page.status_code == 409
    assert errors_of(page) == {"level": "A webhook for this severity level already exists on this traffic source."}


def test_a_webhook_url_is_masked_until_it_is_asked_for(person, story, page_path):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    page = person.get(page_path)
    assert WEBHOOK_TOKEN not in page.text
    assert "https://discord.com/api/webhooks/987654321/••••••••" in page.text
    assert WEBHOOK_URL in person.get(f"{page_path}?show={webhook_id}").text


def test_a_test_message_is_sent_and_discords_answer_is_shown(person, story, page_path, discord):
    webhook_id = story.create_webhook()
    page = person.submit(f"/console/webhooks/{webhook_id}/test")
    assert page.request.path == page_path
    assert note_of(page) == "The test message was delivered."
    assert len(discord.messages) == 1
    discord.fail(Fault(404, {"code": 10003, "message": "Unknown Channel"}))
    page = person.submit(f"/console/webhooks/{webhook_id}/test")
    assert note_of(page).startswith("Discord does not know this channel. Check the channel ID")


def test_an_eleventh_test_a_minute_is_refused_on_the_page(person, story, discord):
    webhook_id = story.create_webhook()
    for _ in range(10):
        person.post(f"/console/webhooks/{webhook_id}/test")
    page = person.post(f"/console/webhooks/{webhook_id}/test")
    assert page.status_code == 429
    assert alert_of(page).startswith("Ten test messages a minute are enough.")
    assert len(discord.messages) == 10


def test_a_webhook_is_muted_for_a_while_and_unmuted(ana, person, story, discord, dispatch):
    webhook_id = story.create_webhook()
    person.submit(f"/console/webhooks/{webhook_id}/mute", hours="8")
    assert "muted until" in texts(person.page)
    assert ana.get(f"/webhooks/{webhook_id}/status").json["mutedUntil"]
    story.report()
    dispatch()
    assert discord.messages == []
    person.submit(f"/console/webhooks/{webhook_id}/unmute")
    dispatch()
    assert len(discord.messages) == 1
    page = person.post(f"/console/webhooks/{webhook_id}/mute", hours="2")
    assert page.status_code == 400


def test_another_address_takes_effect(ana, person, story, page_path):
    webhook_id = story.create_webhook()
    page = person.post(f"/console/webhooks/{webhook_id}/address", value="nonsense")
    assert page.status_code == 400
    assert list(errors_of(page)) == ["value-fatal"]
    person.submit(f"/console/webhooks/{webhook_id}/address", value="42")
    assert ana.get(f"/webhooks/{story.source_id}").json[0]["value"] == "42"


def test_a_webhook_is_deleted_after_it_was_said_what_goes_with_it(ana, person, story, page_path):
    webhook_id = story.create_webhook()
    story.report()
    page = person.get(f"/console/webhooks/{webhook_id}/delete")
    assert "1 event that waits is told to nobody" in page.text
    page = person.submit(f"/console/webhooks/{webhook_id}/delete")
    assert note_of(page) == "The fatal webhook is deleted."
    assert ana.get(f"/webhooks/{story.source_id}").json == []


def test_a_suspended_webhook_says_why_wherever_it_is_seen(person, story, page_path, discord, dispatch):
    story.create_webhook()
    discord.fail(Fault(404, {"code": 10003, "message": "Unknown Channel"}))
    story.report()
    dispatch()
    for path in (page_path, f"/console/sources/{story.source_id}"):
        assert "Discord does not know this channel." in person.get(path).text
    assert "The fatal webhook is suspended." in person.get("/console/sources").text


def test_deliveries_are_listed_with_their_states_attempts_and_reasons_and_redelivered(
    ana, person, story, discord, dispatch
):
    webhook_id = story.create_webhook()
    discord.fail(Fault(400, {"code": 50035, "message": "Invalid Form Body"}))
    story.report()
    dispatch()
    path = f"/console/webhooks/{webhook_id}/deliveries"
    seen = texts(person.get(path))
    assert "discarded" in seen
    assert "Invalid Form Body" in seen
    (delivery,) = ana.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert "400" in texts(person.get(f"/console/deliveries/{delivery['id']}"))
    person.submit(f"/console/deliveries/{delivery['id']}/redeliver")
    assert note_of(person.page) == "The message is sent again."
    dispatch()
    assert len(discord.posted_to(f"channels/{CHANNEL}")) == 1
    assert "None is discarded." in texts(person.get(f"{path}?state=discarded"))


def test_deliveries_are_turned_by_page(person, story, dispatch, monkeypatch, discord):
    monkeypatch.setattr("app.console.views.deliveries.PAGE_LENGTH", 1)
    webhook_id = story.create_webhook()
    for _ in range(2):
        story.report()
        dispatch()
        person.submit(f"/console/webhooks/{webhook_id}/unmute")
    page = person.get(f"/console/webhooks/{webhook_id}/deliveries")
    older = re.search(r'href="([^"]+)">Older', page.text)[1].replace("&amp;", "&")
    first, second = (
        re.findall(r"/console/deliveries/([0-9a-f-]{36})\"", each.text) for each in (page, person.get(older))
    )
    assert set(first).isdisjoint(second)
    assert "Older" not in person.page.text


@pytest.mark.parametrize("token", ["bot-token", None])
@pytest.mark.parametrize("value", [CHANNEL, WEBHOOK_URL])
def test_a_channel_id_that_comes_to_nothing_is_told_at_once(app, person, page_path, token, value):
    app.config["DISCORD_BOT_TOKEN"] = token
    created = note_of(person.submit(page_path, level="fatal", value=value))
    change = re.search(r'action="([^"]+/address)"', person.page.text)[1]
    for told in (created, note_of(person.submit(change, value=value))):
        assert ("nothing can be posted: a channel ID needs a bot" in told) == (token is None and value == CHANNEL)
        assert ("Send a test message" in told) != ("nothing can be posted" in told)


def test_the_form_offers_the_levels_that_are_free_the_most_severe_first(person, story, page_path):
    for taken, free in (("warning", ["fatal", "info"]), ("fatal", ["info"])):
        story.create_webhook(taken)
        form = person.get(page_path).text.partition("Another webhook")[2]
        assert re.findall(r'<option value="(\w+)"', form) == free
    story.create_webhook("info")
    assert "Another webhook" not in person.get(page_path).text


@pytest.mark.parametrize(("url", "is_told"), [(None, True), ("https://arkyn.example.com", False)])
def test_a_service_that_does_not_know_its_address_says_that_messages_have_no_links(
    app, person, story, page_path, url, is_told
):
    app.config["PUBLIC_URL"] = url
    assert "do not link" not in texts(person.get(page_path)), "there are no messages yet"
    story.create_webhook()
    assert ("Messages do not link to their records" in texts(person.get(page_path))) == is_told


@pytest.mark.parametrize(("token", "is_told"), [("bot-token", False), (None, True)])
def test_a_service_without_a_bot_says_that_it_posts_to_no_channel_id(app, person, story, page_path, token, is_told):
    story.create_webhook()
    app.config["DISCORD_BOT_TOKEN"] = token
    assert ("a channel ID needs a bot" in texts(person.get(page_path))) == is_told
