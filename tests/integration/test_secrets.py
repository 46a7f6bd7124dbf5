"""Canaries are planted wherever a secret can enter, and looked for wherever one could come out."""

import logging

from sqlalchemy import text

from app.extensions import db
from tests.discord import Fault
from tests.support import PASSWORD, WEBHOOK_TOKEN, WEBHOOK_URL

CANARY = "canary-in-reported-traffic"
REPORTED = {
    "requestHeaders": {"Authorization": f"Bearer {CANARY}", "accept": "*/*"},
    "queryParams": {"access_token": CANARY},
    "requestBody": {"password": CANARY},
    "responseBody": f'{{"token": "{CANARY}"}}',
    "pathnameUrl": f"/orders?token={CANARY}",
    "domainUrl": f"https://ana:{CANARY}@api.payments.com",
}


def planted(story, client):
    ingest = story.client.post(f"/traffic-sources/{story.source_id}/ingest-tokens", {}).json["token"]
    return [PASSWORD, WEBHOOK_TOKEN, CANARY, story.client.token, ingest]


def test_no_secret_is_logged_stored_answered_or_posted(app, story, client, dispatch, discord, clock, caplog):
    caplog.set_level(logging.DEBUG)
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    secrets = planted(story, client)
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
    told = [
        client.get("/metrics").text,
        client.get("/readyz").text,
        client.get("/openapi.json").text,
        story.client.get(f"/webhooks/{webhook_id}/deliveries").text,
        story.client.get(f"/webhooks/{webhook_id}/status").text,
        story.client.get(f"/http-traffic-records/record/{record_id}").text,
        story.client.get(f"/pathnames/{story.source_id}/{domain_id(story)}").text,
        str([message.body for message in discord.messages]),
        caplog.text,
    ]
    assert discord.messages
    for secret in secrets:
        assert not [answer for answer in told if secret in answer]
    for secret in secrets:
        assert not [table for table, rows in database(app) if secret in rows]


def domain_id(story):
    return story.client.get(f"/domains/{story.source_id}").json["data"][0]["id"]


def database(app):
    with app.app_context():
        return [(table, str(db.session.execute(text(f"SELECT * FROM {table}")).all())) for table in db.metadata.tables]
