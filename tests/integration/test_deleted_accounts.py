"""What goes with an account, how, and what stays."""

from functools import partial
from threading import Event

import pytest
from sqlalchemy import event, select

from app.extensions import db
from app.models import (
    Delivery,
    Domain,
    IngestToken,
    Pathname,
    TrafficRecord,
    TrafficSource,
    User,
    Webhook,
)
from app.repositories import traffic_sources
from tests.integration.helpers import at_once, codes, count, refused, wrong_fields
from tools.story import PASSWORD, WEBHOOK_TOKEN, WEBHOOK_URL, Client, Story, record

CONFIRMED = {"password": PASSWORD}
OWNED = (Delivery, Domain, IngestToken, Pathname, TrafficRecord, TrafficSource, Webhook)


def delete(client, body=None):
    return client.delete("/user", json=CONFIRMED if body is None else body)


@pytest.fixture
def ingest_token(story) -> str:
    return story.create_token()["token"]


def test_an_account_goes_with_all_that_belongs_to_it(app, client, ana, bob, story, ingest_token, dispatch, discord):
    story.create_webhook(value=WEBHOOK_URL)
    story.report()
    kept = Story(bob)
    kept.create_webhook()
    answer = delete(ana)
    assert (answer.status_code, answer.data) == (204, b"")
    refused(ana.get("/user"), 401)
    refused(client.post("/user/auth", {"email": "ana@example.com", "password": PASSWORD}), 401)
    dispatch()
    assert discord.messages == []
    assert {model: count(app, model) for model in OWNED} == dict.fromkeys(OWNED, 0) | {TrafficSource: 1, Webhook: 1}
    assert len(bob.get(f"/webhooks/{kept.source_id}").json) == 1


def test_the_tokens_and_secrets_go_at_once(app, ana, story, ingest_token):
    story.create_webhook(value=WEBHOOK_URL)
    delete(ana)
    refused(Client(app, ingest_token).post(f"/http-traffic-records/{story.source_id}", record()), 401)
    with app.app_context():
        assert db.session.scalars(select(Webhook.token)).all() == [None]
        assert WEBHOOK_TOKEN not in str(db.session.scalars(select(Webhook.value_template)).all())
    assert count(app, IngestToken) == 0


def test_the_e_mail_is_free_again(client, ana):
    delete(ana)
    again = client.sign_up("ana@example.com")
    assert again.get("/traffic-sources").json["meta"]["totalItems"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "password"), ({"password": 5}, "password"), ({"password": PASSWORD, "yes": True}, "yes")],
)
def test_a_bad_confirmation_is_refused(ana, body, field):
    assert wrong_fields(delete(ana, body)) == {field}
    assert ana.get("/user").status_code == 200


def test_a_wrong_password_deletes_nothing_and_guesses_are_limited(ana, story):
    answers = [delete(ana, {"password": f"wrong {number}"}).status_code for number in range(31)]
    assert answers == [403] * 30 + [429]
    refused(delete(ana), 429)
    assert ana.get(f"/traffic-sources/{story.source_id}").status_code == 200


def test_nobody_deletes_an_account_without_a_token(client, ana):
    refused(delete(client), 400)
    refused(delete(Client(client.app, "x")), 401)
    assert ana.get("/user").status_code == 200


def test_of_deletions_at_once_none_fails(app, ana, story):
    assert set(codes(at_once(*[partial(delete, ana)] * 4))) <= {204, 401}
    assert count(app, User) == 0


def test_many_sources_are_deleted_a_few_in_a_transaction(app, ana, monkeypatch):
    monkeypatch.setattr(traffic_sources, "DELETED_AT_ONCE", 2)
    for number in range(5):
        ana.create_source(f"{number}.example.com")
    seen = []

    def note(connection):
        seen.append("commit")

    def note_statement(_connection, _cursor, statement, *_rest):
        if statement.startswith(("UPDATE traffic_sources", "DELETE FROM users")):
            seen.append(statement.split()[0])

    with app.app_context():
        event.listen(db.engine, "commit", note)
        event.listen(db.engine, "before_cursor_execute", note_statement)
        assert delete(ana).status_code == 204
        event.remove(db.engine, "commit", note)
        event.remove(db.engine, "before_cursor_execute", note_statement)
    runs = "".join({"UPDATE": "u", "DELETE": "d", "commit": "."}[each] for each in seen)
    assert runs.replace("..", ".").strip(".").startswith("u.u.u.")
    assert runs.rstrip(".").endswith("d")


def test_a_deletion_that_broke_off_can_go_on(app, ana, story, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("app.repositories.users.lock", lambda _: 1 / 0)
        refused(delete(ana), 500)
    refused(ana.get(f"/traffic-sources/{story.source_id}"), 404)
    assert delete(ana).status_code == 204


def test_a_source_that_is_added_meanwhile_goes_too(app, ana, story, monkeypatch):
    """Between the last batch and the end of the account."""
    added, lock = Event(), traffic_sources.delete_some_of
    calls = []

    def adding(user_id):
        deleted = lock(user_id)
        calls.append(deleted)
        if len(calls) == 2 and not added.is_set():
            added.set()
            db.session.commit()
            late = ana.create_source("late.example.com")
            ana.post(f"/traffic-sources/{late}/ingest-tokens", {})
        return deleted

    monkeypatch.setattr(traffic_sources, "delete_some_of", adding)
    assert delete(ana).status_code == 204
    assert calls == [1, 0, 1, 0]
    assert count(app, IngestToken) == count(app, User) == 0
