"""Whose budget of refused requests an answer of 401 or 403 uses up: that of who set the address or asked for a test."""

import pytest
from sqlalchemy import select

from app.extensions import db
from app.models import DiscordLimit, RefusalCount
from app.repositories import discord_limits, due
from tests.integration.helpers import refused
from tests.integration.pages import Person
from tests.integration.test_access import share
from tools.fake_discord import Fault
from tools.story import WEBHOOK_URL, Story

BUDGET = 3
DEAD = WEBHOOK_URL
DEAD_DESTINATION = "webhooks/987654321"


@pytest.fixture(autouse=True)
def budget(monkeypatch, discord):
    monkeypatch.setattr(discord_limits, "USER_BUDGET", BUDGET)
    monkeypatch.setattr(due, "USER_BUDGET", BUDGET)
    discord.fail(*[Fault(status=403)] * 100, destination=DEAD_DESTINATION)


@pytest.fixture
def shared(ana, bob, story):
    """Ana's source, of which Bob is an editor."""
    share(ana, bob, story.source_id, permission="editor", answer="accept")
    return story


@pytest.fixture
def alone(ana):
    """Another source of Ana's, with a webhook."""
    other = Story(ana, domain="alone.example.com")
    other.create_webhook(value="2")
    return other


def create_dead(client, source_id, level="fatal"):
    answer = client.post(f"/webhooks/{source_id}", {"type": "discord", "level": level, "value": DEAD})
    assert answer.status_code == 201
    return answer.json["id"]


def use_up(client, story, webhook_id, dispatch, clock):
    """Resume a dead webhook until its messages are no longer tried."""
    for _ in range(BUDGET + 2):
        story.report()
        dispatch()
        assert client.put(f"/webhooks/{webhook_id}", {"value": DEAD}).status_code == 200
        clock.advance(1)


def refusals(app):
    with app.app_context():
        return dict(db.session.execute(select(RefusalCount.user_id, RefusalCount.number)).all())


def id_of(client):
    return client.get("/user").json["id"]


def test_an_editor_uses_up_the_own_budget_and_not_the_owners(app, bob, shared, alone, dispatch, discord, clock):
    webhook_id = create_dead(bob, shared.source_id)
    use_up(bob, shared, webhook_id, dispatch, clock)
    assert refusals(app) == {id_of(bob): BUDGET}
    alone.report()
    dispatch()
    assert len(discord.posted_to("channels/2")) == 1
    with app.app_context():
        assert db.session.scalars(select(DiscordLimit.invalid_requests)).all() == [BUDGET], (
            "the whole service counts all"
        )


@pytest.mark.parametrize("by_console", [False, True])
def test_what_an_editor_creates_is_the_editors(app, bob, shared, dispatch, by_console):
    if by_console:
        person = Person(app)
        person.sign_in("bob@example.com")
        page = f"/console/sources/{shared.source_id}/webhooks"
        assert person.post(page, level="fatal", value=DEAD).status_code == 302
    else:
        create_dead(bob, shared.source_id)
    shared.report()
    dispatch()
    assert refusals(app) == {id_of(bob): 1}


def test_what_the_owner_sets_again_is_the_owners(app, ana, bob, shared, dispatch):
    webhook_id = create_dead(bob, shared.source_id)
    assert ana.put(f"/webhooks/{webhook_id}", {"value": DEAD}).status_code == 200
    shared.report()
    dispatch()
    assert refusals(app) == {id_of(ana): 1}


def test_a_test_counts_for_who_asked_for_it(app, ana, bob, shared, alone, dispatch, discord):
    webhook_id = shared.create_webhook(value=DEAD)
    for _ in range(BUDGET):
        assert bob.post(f"/webhooks/{webhook_id}/test").json["ok"] is False
    refused(bob.post(f"/webhooks/{webhook_id}/test"), 429)
    assert refusals(app) == {id_of(bob): BUDGET}
    assert ana.post(f"/webhooks/{webhook_id}/test").status_code == 200
    alone.report()
    dispatch()
    assert len(discord.posted_to("channels/2")) == 1


def test_who_brings_a_webhook_back_by_a_test_answers_for_it(app, ana, bob, shared, dispatch, discord, clock):
    """Otherwise an owner could use up an editor's budget."""
    webhook_id = bob.post(f"/webhooks/{shared.source_id}", {"type": "discord", "level": "fatal", "value": "7"}).json[
        "id"
    ]
    for tester in (ana, bob, ana):
        discord.fail(Fault(status=403), destination="channels/7")
        shared.report()
        dispatch()
        assert tester.post(f"/webhooks/{webhook_id}/test").json["ok"] is True
        clock.advance(10)
    assert refusals(app) == {id_of(bob): 2, id_of(ana): 1}


def test_who_left_a_source_holds_none_of_its_messages_back(app, ana, bob, shared, dispatch, discord, clock):
    answer = bob.post(f"/webhooks/{shared.source_id}", {"type": "discord", "level": "warning", "value": "5"})
    assert answer.status_code == 201
    own = Story(bob, domain="bob.example.com")
    use_up(bob, own, own.create_webhook(value=DEAD), dispatch, clock)
    shared.report(status=404)
    dispatch()
    assert discord.posted_to("channels/5") == [], "while Bob is an editor, the webhook is his"
    (invited,) = ana.get(f"/shared-traffic-sources?trafficSourceId={shared.source_id}").json["data"]
    assert ana.delete(f"/shared-traffic-sources/{invited['id']}").status_code == 204
    dispatch()
    assert len(discord.posted_to("channels/5")) == 1


def test_a_webhook_of_an_editor_whose_account_is_gone_is_the_owners(app, ana, bob, shared, dispatch):
    create_dead(bob, shared.source_id)
    assert bob.delete("/user", json={"password": "canary password"}).status_code == 204
    shared.report()
    dispatch()
    assert refusals(app) == {id_of(ana): 1}


def test_the_owners_budget_holds_what_an_editor_set_whose_account_is_gone(ana, bob, shared, dispatch, discord, clock):
    """Otherwise accounts made for it could use up what the whole service may be refused."""
    answer = bob.post(f"/webhooks/{shared.source_id}", {"type": "discord", "level": "warning", "value": "5"})
    assert answer.status_code == 201
    assert bob.delete("/user", json={"password": "canary password"}).status_code == 204
    own = Story(ana, domain="own.example.com")
    use_up(ana, own, own.create_webhook(value=DEAD), dispatch, clock)
    shared.report(status=404)
    dispatch()
    assert discord.posted_to("channels/5") == []
    clock.advance(601)
    dispatch()
    assert len(discord.posted_to("channels/5")) == 1
