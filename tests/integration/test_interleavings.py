"""Whatever happens beside a report, its event is delivered: no order of commits leaves one without a next step."""

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest
from sqlalchemy import func, select, text

from app.digests import loads
from app.extensions import db
from app.models import Delivery
from app.models.columns import NO_ID
from app.repositories import claims, merging, reports
from tests.support import in_days
from tools.fake_discord import Fault
from tools.story import Client, Story, record

GONE = Fault(status=404, body={"code": 10003})


def pending(app) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).where(Delivery.state.in_(("pending", "delivering")))) or 0


def told(discord) -> int:
    return sum(message.events for message in discord.messages)


BESIDE = {
    "resumed by a PUT": lambda story, hook: story.client.put(f"/webhooks/{hook}", {"value": "42"}),
    "resumed by a test": lambda story, hook: story.client.post(f"/webhooks/{hook}/test"),
    "unmuted": lambda story, hook: story.client.delete(f"/webhooks/{hook}/mute"),
    "moved": lambda story, hook: story.client.put(f"/webhooks/{hook}", {"value": "43"}),
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("form", ["single", "batch"])
def test_what_a_report_stores_while_its_webhook_is_changed_is_delivered(
    app, story, dispatch, discord, clock, monkeypatch, form, beside
):
    """The report has seen the webhook as it was, and commits after the change."""
    webhook_id = story.create_webhook(value="42")
    if beside.startswith("resumed"):
        discord.fail(GONE)
        story.report()
        dispatch()
        assert story.client.get(f"/webhooks/{webhook_id}/status").json["state"] == "suspended"
    elif beside == "unmuted":
        assert story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(1)}).status_code == 200
    already = pending(app)
    name = "store_one_and_commit" if form == "single" else "store_many_and_commit"
    store = getattr(reports, name)

    def changed_meanwhile(*arguments):
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(BESIDE[beside], story, webhook_id).result()
            assert answer.status_code in (200, 204), answer.text
        return store(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(reports, name, changed_meanwhile)
        if form == "single":
            story.report()
        else:
            story.report_batch(record(), record(), record())
    clock.advance(6)
    dispatch()
    assert told(discord) == already + (1 if form == "single" else 3)
    assert pending(app) == 0


@pytest.mark.parametrize("seed", range(3))
def test_every_accepted_event_is_told_whatever_is_done_to_its_webhook_at_once(
    app, story, make_dispatchers, discord, clock, seed
):
    """Reports, a dispatcher, and somebody who mutes, moves and resumes, each in a thread of its own."""
    webhook_id = story.create_webhook(value="1")
    done = Event()
    rng = random.Random(seed)
    discord.fail(*[rng.choice([GONE, Fault(status=500), Fault(drop=True)]) for _ in range(8)])

    def report(number: int) -> int:
        mine = random.Random(seed * 100 + number)
        accepted = 0
        for _ in range(25):
            size = mine.choice([1, 1, 1, 5])
            if size == 1:
                story.report(pathnameUrl=f"/{number}")
            else:
                story.report_batch(*[record(pathnameUrl=f"/{number}")] * size)
            accepted += size
        return accepted

    def change() -> None:
        changes = [
            partial(story.client.post, f"/webhooks/{webhook_id}/mute", {"until": in_days(1)}),
            partial(story.client.delete, f"/webhooks/{webhook_id}/mute"),
            partial(story.client.put, f"/webhooks/{webhook_id}", {"value": "1"}),
            partial(story.client.put, f"/webhooks/{webhook_id}", {"value": "2"}),
        ]
        while not done.is_set():
            assert rng.choice(changes)().status_code in (200, 204)

    def send() -> None:
        dispatcher = make_dispatchers()
        with app.app_context():
            while not done.is_set():
                dispatcher.run_until_idle()
                clock.advance(6)
                db.session.remove()

    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(change), pool.submit(send)]
        try:
            reporters = [pool.submit(report, number) for number in range(3)]
            accepted = sum(reporter.result() for reporter in reporters)
        finally:
            done.set()
        for other in others:
            other.result()
    discord._faults.clear()
    story.client.put(f"/webhooks/{webhook_id}", {"value": "3"})
    story.client.delete(f"/webhooks/{webhook_id}/mute")
    dispatcher = make_dispatchers()
    with app.app_context():
        for _ in range(8):
            clock.advance(3_700)
            dispatcher.run_until_idle()
    assert pending(app) == 0
    assert told(discord) == accepted


def test_an_event_that_another_dispatcher_merges_into_a_message_being_claimed_is_told(
    app, story, make_dispatchers, discord, clock, monkeypatch
):
    """The message's digest was read, and is not yet marked as being delivered."""
    with app.app_context():
        if not db.is_postgresql:
            pytest.skip("SQLite has one writer at a time, and a claim writes first.")
    webhook_id = story.create_webhook()
    story.report()

    def merge() -> None:
        story.report()
        with app.app_context():
            merging.merge_batch(webhook_id, NO_ID, seconds=60)
            db.session.commit()

    beside = [merge]

    def load(stored):
        digest = loads(stored)
        if beside:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(beside.pop()).result()
        return digest

    monkeypatch.setattr(claims, "loads", load)
    dispatcher = make_dispatchers()
    with app.app_context():
        for _ in range(2):
            dispatcher.run_until_idle()
            clock.advance(6)
    assert not beside
    assert told(discord) == 2


def test_batches_beside_deletions_of_their_source_deadlock_nobody(app, ana, dispatch):
    """Each answer is a success or "not found"."""
    for round_number in range(4):
        story = Story(ana, domain=f"{round_number}.example.com")
        story.create_webhook()
        batches = [
            [record(pathnameUrl=f"/{path}") for path in order]
            for order in (range(30), range(29, -1, -1), range(0, 60, 2), range(59, -1, -2))
        ]

        def send(batch, source_id=story.source_id) -> int:
            other = Client(app, ana.token)
            return other.post(f"/http-traffic-records/{source_id}/batch", batch).status_code

        with ThreadPoolExecutor(9) as pool:
            answers = [pool.submit(send, batch) for batch in batches * 2]
            assert ana.delete(f"/traffic-sources/{story.source_id}").status_code == 204
            assert {answer.result() for answer in answers} <= {201, 404}
        dispatch()
    with app.app_context():
        for table in ("http_traffic_records", "pathnames", "domains", "deliveries", "webhooks", "traffic_sources"):
            assert db.session.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table


def test_a_record_that_comes_after_its_path_was_removed_is_kept(app, story, dispatch, clock):
    """The path went with its last record."""
    story.report(pathnameUrl="/once")
    clock.advance(15 * 86_400)
    dispatch()
    with app.app_context():
        assert db.session.scalar(text("SELECT count(*) FROM pathnames")) == 0
    story.report(pathnameUrl="/once")
    story.report_batch(record(pathnameUrl="/once"), record(pathnameUrl="/twice"))
    with app.app_context():
        assert db.session.scalar(text("SELECT count(*) FROM pathnames")) == 2
        assert db.session.scalar(text("SELECT count(*) FROM http_traffic_records")) == 3


def test_removing_unused_paths_beside_reports_loses_no_record(app, make_app, story, clock, make_dispatchers):
    """Two workers, which remember places of their own, and a dispatcher that purges all the time."""
    workers = [story.client, Client(make_app(), story.client.token)]
    done = Event()

    def report(client: Client) -> int:
        for number in range(60):
            path = f"/http-traffic-records/{story.source_id}"
            body = record(pathnameUrl=f"/{number % 3}", status=200)
            answer = client.post(path, body) if number % 4 else client.post(f"{path}/batch", [body] * 3)
            assert answer.status_code == 201, answer.text
        return 60

    def purge() -> None:
        dispatcher = make_dispatchers()
        with app.app_context():
            while not done.is_set():
                clock.advance(15 * 86_400)
                dispatcher.run_until_idle()
                clock.advance(-15 * 86_400)
                db.session.remove()

    with ThreadPoolExecutor(3) as pool:
        purging = pool.submit(purge)
        try:
            reported = [pool.submit(report, client) for client in workers]
            assert [each.result() for each in reported] == [60, 60]
        finally:
            done.set()
        purging.result()
