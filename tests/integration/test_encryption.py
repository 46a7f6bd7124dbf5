"""Tokens of webhook URLs in the database: under which key, replaced how, and what follows where the key is lost."""

import sys
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text

from app.cli import make_dispatcher
from app.extensions import db
from app.security.keyring import KeyRing
from tests.conftest import ENCRYPTION_KEY
from tests.integration.helpers import refused
from tools.fake_discord import Fault
from tools.story import CHANNEL, WEBHOOK_TOKEN, WEBHOOK_URL, Client

NEW_KEY, OTHER_KEY = (Fernet.generate_key().decode() for _ in range(2))
LEVELS = ("fatal", "warning", "info")


@pytest.fixture
def stored(app):
    """The tokens of all webhooks as the database holds them."""

    def tokens():
        with app.app_context():
            return db.session.scalars(text("SELECT token FROM webhooks ORDER BY id")).all()

    return tokens


@pytest.fixture
def dispatch_with(make_app, clock, discord):
    """Start a dispatcher under other keys, a while later, and send all that is due."""

    def run(*keys):
        clock.advance(60)
        app = make_app(ENCRYPTION_KEYS=",".join(keys))
        dispatcher = make_dispatcher(app.config, clock=clock, jitter=lambda: 0.5)
        with app.app_context():
            dispatcher._join()
            dispatcher.run_until_idle()
        dispatcher.pool.shutdown()
        dispatcher.client.pool.clear()

    return run


def rotate(app):
    return app.test_cli_runner().invoke(args=["rotate-keys"])


def readable(key, tokens):
    return [KeyRing([key]).decrypt(token) for token in tokens]


def status(client, webhook_id):
    return client.get(f"/webhooks/{webhook_id}/status").json


def test_a_token_is_stored_encrypted_and_shown_as_it_was_sent(story, stored):
    story.create_webhook(value=f"{WEBHOOK_URL}?thread_id=7")
    (token,) = stored()
    assert WEBHOOK_TOKEN not in token
    assert readable(ENCRYPTION_KEY, [token]) == [WEBHOOK_TOKEN]
    (shown,) = story.client.get(f"/webhooks/{story.source_id}").json
    assert shown["value"] == f"{WEBHOOK_URL}?thread_id=7"


def test_the_longest_token_can_be_stored(story, stored):
    story.create_webhook(value=f"https://discord.com/api/webhooks/1/{'x' * 200}")
    assert readable(ENCRYPTION_KEY, stored()) == ["x" * 200]


def test_a_channel_id_has_nothing_to_encrypt(story, stored):
    story.create_webhook(value=CHANNEL)
    assert stored() == [None]


def test_a_webhook_whose_key_is_lost_is_suspended_and_loses_nothing(story, dispatch_with, discord):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    story.report()
    dispatch_with(OTHER_KEY)
    told = status(story.client, webhook_id)
    assert told["state"] == "suspended"
    assert told["reason"].startswith("The key this webhook URL was encrypted with is not among ENCRYPTION_KEYS.")
    assert told["pending"] == 1
    assert discord.messages == []


def test_other_webhooks_are_served_while_the_key_of_one_is_lost(story, dispatch_with, discord):
    story.create_webhook(value=WEBHOOK_URL)
    story.create_webhook(level="warning", value=CHANNEL)
    story.report()
    story.report(status=404)
    dispatch_with(OTHER_KEY)
    assert [message.destination for message in discord.messages] == [f"channels/{CHANNEL}"]


def test_without_its_key_a_webhook_is_still_listed_tested_and_deleted(story, make_app, discord):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    client = Client(make_app(ENCRYPTION_KEYS=OTHER_KEY), story.client.token)
    (shown,) = client.get(f"/webhooks/{story.source_id}").json
    assert shown["value"] == "https://discord.com/api/webhooks/987654321/{token}"
    refused(client.put(f"/webhooks/{webhook_id}", {"value": shown["value"]}), 400)
    tested = client.post(f"/webhooks/{webhook_id}/test").json
    assert not tested["ok"]
    assert "ENCRYPTION_KEYS" in tested["message"]
    assert client.delete(f"/webhooks/{webhook_id}").status_code == 204
    assert discord.messages == []


def test_a_url_that_is_set_anew_needs_the_lost_key_no_more(story, make_app, dispatch_with, discord, stored):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    story.report()
    dispatch_with(OTHER_KEY)
    client = Client(make_app(ENCRYPTION_KEYS=OTHER_KEY), story.client.token)
    assert client.put(f"/webhooks/{webhook_id}", {"value": WEBHOOK_URL}).status_code == 200
    dispatch_with(OTHER_KEY)
    assert readable(OTHER_KEY, stored()) == [WEBHOOK_TOKEN]
    assert [message.events for message in discord.messages] == [1]


def test_once_the_key_is_back_a_dispatcher_that_starts_sends_what_waited(story, dispatch_with, discord):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    story.report()
    dispatch_with(OTHER_KEY)
    dispatch_with(OTHER_KEY, NEW_KEY)
    assert status(story.client, webhook_id)["state"] == "suspended"
    dispatch_with(OTHER_KEY, ENCRYPTION_KEY)
    assert status(story.client, webhook_id)["state"] == "active"
    assert [message.events for message in discord.messages] == [1]


def test_what_discord_suspended_stays_so_when_a_dispatcher_starts(story, dispatch_with, discord):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    discord.fail(Fault(status=404, body={"code": 10015, "message": "Unknown Webhook"}))
    story.report()
    dispatch_with(ENCRYPTION_KEY)
    dispatch_with(ENCRYPTION_KEY)
    assert status(story.client, webhook_id)["state"] == "suspended"


def test_rotation_puts_all_tokens_under_the_first_key_and_says_so(story, make_app, stored, monkeypatch):
    monkeypatch.setattr("app.repositories.webhook_tokens.BATCH_SIZE", 2)
    for level in LEVELS:
        story.create_webhook(level, WEBHOOK_URL)
    result = rotate(make_app(ENCRYPTION_KEYS=f"{NEW_KEY},{ENCRYPTION_KEY}"))
    assert result.exit_code == 0
    assert "Rotating" in result.output
    assert "3 secrets: 3 encrypted anew, 0 under none of the keys." in result.output
    assert readable(NEW_KEY, stored()) == [WEBHOOK_TOKEN] * 3


@contextmanager
def stopped(**_):
    """A progress bar, the first step of which is the program's last."""
    yield Mock(update=lambda _: sys.exit(1))


def test_a_rotation_that_was_stopped_goes_on_where_it_was(story, make_app, stored, monkeypatch):
    monkeypatch.setattr("app.repositories.webhook_tokens.BATCH_SIZE", 2)
    for level in LEVELS:
        story.create_webhook(level, WEBHOOK_URL)
    rotated = make_app(ENCRYPTION_KEYS=f"{NEW_KEY},{ENCRYPTION_KEY}")
    with monkeypatch.context() as patch:
        patch.setattr("click.progressbar", stopped)
        assert rotate(rotated).exit_code == 1
    done = stored()
    assert readable(NEW_KEY, done) == [WEBHOOK_TOKEN, WEBHOOK_TOKEN, None]
    assert "3 secrets: 1 encrypted anew" in rotate(rotated).output
    assert stored()[:2] == done[:2]


def test_rotation_leaves_channel_ids_and_updated_at_alone(story, make_app, stored):
    story.create_webhook(value=CHANNEL)
    story.create_webhook("info", WEBHOOK_URL)
    before = story.client.get(f"/webhooks/{story.source_id}").json
    assert "1 secrets: 1 encrypted anew" in rotate(make_app(ENCRYPTION_KEYS=f"{NEW_KEY},{ENCRYPTION_KEY}")).output
    assert stored()[0] is None
    rotated = Client(make_app(ENCRYPTION_KEYS=NEW_KEY), story.client.token)
    assert rotated.get(f"/webhooks/{story.source_id}").json == before


def test_rotation_fails_where_no_key_fits_and_leaves_the_token_for_the_key_to_come_back(story, make_app, stored):
    story.create_webhook(value=WEBHOOK_URL)
    before = stored()
    result = rotate(make_app(ENCRYPTION_KEYS=f"{NEW_KEY},{OTHER_KEY}"))
    assert result.exit_code == 1
    assert "1 under none of the keys" in result.output
    assert stored() == before


def test_rotation_does_not_overwrite_what_is_set_meanwhile(story, make_app, stored, monkeypatch):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    rotated = make_app(ENCRYPTION_KEYS=f"{NEW_KEY},{ENCRYPTION_KEY}")
    client, renew = Client(rotated, story.client.token), KeyRing.renew
    moved = WEBHOOK_URL.replace(WEBHOOK_TOKEN, "set-meanwhile")

    def set_and_renew(keyring, encrypted):
        assert client.put(f"/webhooks/{webhook_id}", {"value": moved}).status_code == 200
        return renew(keyring, encrypted)

    monkeypatch.setattr(KeyRing, "renew", set_and_renew)
    assert "1 secrets: 0 encrypted anew" in rotate(rotated).output
    assert readable(NEW_KEY, stored()) == ["set-meanwhile"]
