"""Everything that users share is bounded: memory, caches, rows, names, and what goes wrong with the disk."""

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
import uuid_utils
from flask_migrate import upgrade
from sqlalchemy import event, func, select, text, update

from app import create_app
from app.caches import remember_short
from app.extensions import db, init_migrations
from app.models import Delivery, Destination, Domain, Pathname, TrafficRecord
from app.monitoring import readiness
from app.repositories import purging
from app.security import redaction
from tests.integration.helpers import at_once, codes, count, refused, wrong_fields
from tests.integration.test_abuse import Endless
from tests.support import in_days
from tools.story import PASSWORD, WEBHOOK_URL, Client, Story, record

MEBIBYTE = 1024 * 1024


def test_no_large_body_of_a_token_that_is_good_for_nothing_is_read(app, ana, story):
    """Neither held in memory nor parsed."""
    revoked = Client(app, ana.token).sign_in("ana@example.com")
    revoked.post("/user/logout")
    report = f"/http-traffic-records/{story.source_id}"
    for token in ("ingest_nobody", revoked.token):
        for path in (f"{report}/batch", report, "/ingest-log", f"/webhooks/{story.source_id}"):
            body = Endless()
            refused(Client(app, token).request("POST", path, environ_overrides=body.sent_with), 401)
            assert body.taken == 0, path


@pytest.mark.long
@pytest.mark.parametrize("text", [b"[]", b"{}", b"0", b'""', b'{"":[]}'])
def test_a_body_of_more_values_than_a_batch_can_have_is_refused_before_it_is_parsed(story, text):
    body = b"[" + b",".join([text] * (15 * MEBIBYTE // (len(text) + 1))) + b"]"
    answer = story.client.request(
        "POST", f"/http-traffic-records/{story.source_id}/batch", data=body, content_type="application/json"
    )
    assert "too many values" in refused(answer, 413)["message"]


@pytest.mark.parametrize("form", ["record", "batch"])
def test_a_body_of_many_values_costs_itself_and_nothing_beside_it(app, story, form):
    """As a stranger's requests would bring them into a batch, each a hundred kilobytes."""
    story.create_webhook()
    many = [0] * (600_000 if form == "record" else 60_000)
    path = f"/http-traffic-records/{story.source_id}"
    if form == "record":
        answer = story.client.post(path, record(requestBody=many, status=500))
    else:
        answer = story.client.post(f"{path}/batch", [record(requestBody=many, status=404)] * 10 + [record()])
    assert answer.status_code == 201, answer.text
    with app.app_context():
        kept = set(db.session.scalars(select(TrafficRecord.request_body)))
    assert "[too many values]" in str(kept)
    assert count(app, Delivery) == 1


def test_a_long_body_of_little_else_than_separators_is_text_like_any_other(story):
    """CSV, say, or JSON within a string: only what would become values counts."""
    for body in ("1,2,3\n" * 500_000, "[[],[]]," * 300_000, '{"a":[' * 300_000):
        answer = story.client.post(f"/http-traffic-records/{story.source_id}/batch", [record(requestBody=body)])
        assert answer.status_code == 201, answer.text


def test_requests_of_other_kinds_hold_few_values(client):
    answer = client.request("POST", "/user", data=b"[" + b"[]," * 300_000 + b"[]]", content_type="application/json")
    refused(answer, 413)


def test_a_cache_holds_no_long_text() -> None:
    asked: list[str] = []

    @remember_short(10, max_length=5)
    def remembered(text: str) -> int:
        asked.append(text)
        return len(text)

    for text_length in (5, 5, 6, 6):
        assert remembered("x" * text_length) == text_length
    assert [len(text) for text in asked] == [5, 6, 6]


def test_what_stands_under_an_endless_name_is_not_kept():
    assert redaction.is_sensitive("x" * (redaction.MAX_NAME_LENGTH + 1))
    assert not redaction.is_sensitive("x" * redaction.MAX_NAME_LENGTH)


@contextmanager
def reported_at(clock, monkeypatch) -> Iterator[None]:
    """Reports come at the test's time, and their identifiers with them."""

    def new_id() -> str:
        return str(uuid_utils.uuid7(nanoseconds=int(clock().timestamp() * 1e9)))

    with monkeypatch.context() as patched:
        patched.setattr("app.ingestion.utcnow", clock)
        for module in (
            "app.ingestion",
            "app.repositories.outbox",
            "app.repositories.claims",
            "app.repositories.reports",
        ):
            patched.setattr(f"{module}.new_id", new_id)
        yield


@pytest.mark.long
def test_under_steady_load_the_database_stays_as_large_as_it_is(app, story, dispatch, discord, clock, monkeypatch):
    """Over ten weeks, in which nearly every path is a new one."""
    story.create_webhook(value=WEBHOOK_URL)
    clock.advance(-70 * 86_400)
    sizes = []
    with reported_at(clock, monkeypatch):
        for week in range(10):
            for day in range(7):
                host = f"https://{week}-{day}.example.com"
                batch = [record(domainUrl=host, pathnameUrl=f"/{week}/{day}/{number}") for number in range(20)]
                story.report_batch(*batch)
                story.report(pathnameUrl="/always")
                dispatch()
                clock.advance(86_400)
            sizes.append([count(app, model) for model in (TrafficRecord, Pathname, Domain, Delivery)])
    assert sizes[4] == sizes[-1]
    records, paths, hosts, _ = sizes[-1]
    assert records == 14 * 21 + 21 or records == 14 * 21
    assert (paths, hosts) == (records // 21 * 20 + 1, records // 21 + 1)


def test_a_path_whose_record_never_came_goes_too(app, story, dispatch, clock):
    story.report(pathnameUrl="/one")
    with app.app_context():
        db.session.execute(text("DELETE FROM http_traffic_records"))
        db.session.commit()
    dispatch()
    assert count(app, Pathname) == 1, "it may be waiting for a record that is about to be stored"
    clock.advance(3_700)
    dispatch()
    assert (count(app, Pathname), count(app, Domain)) == (0, 0)


def test_what_is_still_used_is_never_removed(app, story, dispatch, clock, monkeypatch):
    monkeypatch.setattr(purging, "BATCH_SIZE", 2)
    for number in range(5):
        story.report(pathnameUrl=f"/{number}")
    clock.advance(10 * 86_400)
    for _ in range(5):
        dispatch()
    assert count(app, Pathname) == 5


def test_destinations_come_with_a_first_message_and_go_with_the_webhooks_that_needed_them(
    app, ana, story, dispatch, clock
):
    webhook_id = story.create_webhook(value="1")
    for channel in range(2, 12):
        story.report()
        clock.advance(6)
        dispatch()
        assert ana.put(f"/webhooks/{webhook_id}", {"value": str(channel)}).status_code == 200
    dispatch()
    assert count(app, Destination) == 0, "no message was sent to the last address"
    story.report()
    clock.advance(6)
    dispatch()
    with app.app_context():
        assert db.session.scalars(select(Destination.id)).all() == ["channels/11"]
    ana.delete(f"/webhooks/{webhook_id}")
    dispatch()
    assert count(app, Destination) == 0


def test_a_destination_that_is_held_or_waits_stays(app, story, dispatch, clock):
    webhook_id = story.create_webhook(value="1")
    story.report()
    dispatch()
    with app.app_context():
        db.session.execute(update(Destination).values(paused_until=clock() + timedelta(minutes=1)))
        db.session.commit()
    story.client.delete(f"/webhooks/{webhook_id}")
    dispatch()
    assert count(app, Destination) == 1
    clock.advance(70)
    dispatch()
    assert count(app, Destination) == 0


def test_a_webhook_made_while_its_destination_is_removed_is_made(app, ana, dispatch):
    for number in range(5):
        story = Story(ana, domain=f"{number}.example.com")
        webhook_id = story.create_webhook(value="7")
        ana.delete(f"/webhooks/{webhook_id}")
        dispatch()
        other = Story(ana, domain=f"other-{number}.example.com")
        body = {"type": "discord", "level": "fatal", "value": "7"}
        assert codes(at_once(*[partial(ana.post, f"/webhooks/{other.source_id}", body)] * 3)) == [201, 409, 409]
        ana.delete(f"/traffic-sources/{other.source_id}")


def test_a_source_has_no_more_ingest_tokens_than_the_setting_says(make_app, ana, story):
    limited = Client(make_app(MAX_TOKENS_PER_SOURCE="3"), ana.token)
    path = f"/traffic-sources/{story.source_id}/ingest-tokens"
    answers = at_once(*[partial(limited.post, path, {})] * 6)
    assert codes(answers) == [201] * 3 + [429] * 3
    revoked = next(answer.json["id"] for answer in answers if answer.status_code == 201)
    assert limited.delete(f"{path}/{revoked}").status_code == 204
    assert limited.post(path, {}).status_code == 201


def test_asking_by_a_change_of_e_mail_who_has_an_account_is_limited_like_signing_up(make_app, client, ana, bob):
    limited = Client(make_app(SIGN_UP_ACCOUNT_LIMIT="3 per hour"), ana.token)
    answers = [limited.put("/user", {"email": "bob@example.com"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [409, 409, 409, 429, 429]
    assert limited.put("/user", {"email": "ana@example.com", "name": "A"}).status_code == 200


def sign_up(client, email):
    return client.post("/user", {"name": "A", "email": email, "password": PASSWORD})


def test_where_registration_is_for_the_first_somebody_signs_up_and_nobody_else(make_app, client):
    first = Client(make_app(REGISTRATION="first"))
    answers = at_once(*[partial(sign_up, first, f"{number}@example.com") for number in range(6)])
    assert codes(answers) == [201] + [403] * 5
    refused(sign_up(first, "late@example.com"), 403)
    assert wrong_fields(first.post("/user", {})) == {"name", "email", "password"}


def test_a_new_sqlite_file_is_its_owners_alone(tmp_path):
    before = os.umask(0o022)
    try:
        app = create_app({"DATABASE_URL": f"sqlite:///{tmp_path}/new.sqlite3"}, str(tmp_path))
        init_migrations(app)
        with app.app_context():
            upgrade("migrations")
            db.session.execute(text("SELECT 1"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("new.sqlite3*")}
            db.engine.dispose()
    finally:
        os.umask(before)
    assert modes
    assert set(modes.values()) == {0o600}


READ_AND_CLOSE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT * FROM kept").fetchall()
connection.close()
"""


def test_a_connection_made_later_drops_no_lock_on_a_sqlite_file(tmp_path):
    """Else another process that closes the file takes itself for the last, and what is written after it is lost."""
    file = tmp_path / "new.sqlite3"
    app = create_app({"DATABASE_URL": f"sqlite:///{file}"}, str(tmp_path))
    with app.app_context(), db.engine.connect() as first:
        first.execute(text("CREATE TABLE kept (number INTEGER)"))
        first.commit()
        with db.engine.connect() as second:
            second.execute(text("SELECT * FROM kept")).all()
            subprocess.run([sys.executable, "-c", READ_AND_CLOSE, str(file)], check=True, timeout=60)
            first.execute(text("INSERT INTO kept VALUES (1)"))
            first.commit()
            look = f"import sqlite3; print(sqlite3.connect({str(file)!r}).execute('SELECT * FROM kept').fetchall())"
            found = subprocess.run([sys.executable, "-c", look], check=True, timeout=60, capture_output=True, text=True)
        db.engine.dispose()
    assert found.stdout == "[(1,)]\n"


@pytest.fixture
def full(make_app, database_url) -> Iterator[Client]:
    """A client of a service whose SQLite file may not grow any more."""
    if not database_url.startswith("sqlite"):
        pytest.skip("a PostgreSQL whose disk is full needs a disk")
    app = make_app()
    with app.app_context():
        event.listen(db.engine, "connect", limit_pages)
        yield Client(app)
        event.remove(db.engine, "connect", limit_pages)
    readiness._full_until = 0.0


def limit_pages(connection, _record):
    connection.execute("PRAGMA max_page_count = 1")


def test_a_full_disk_is_told_in_a_line_and_by_readyz(full, ana, story, caplog, dispatch):
    dispatch()
    full.token = ana.token
    assert full.get("/readyz").status_code == 200
    caplog.clear()
    caplog.set_level(logging.INFO)
    for _ in range(50):
        batch = [record(requestBody="x" * 4_000, responseBody="x" * 4_000)] * 200
        answer = full.post(f"/http-traffic-records/{story.source_id}/batch", batch)
        if answer.status_code != 201:
            break
    assert "disk is full" in refused(answer, 500)["message"]
    errors = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert len(caplog.text.splitlines()) < 60
    assert "Traceback" not in caplog.text
    assert "disk is full" in str(refused(full.get("/readyz"), 503)["errors"]["database"])


def test_a_database_error_that_is_none_of_the_whole_database_says_its_kind(app, story, caplog, monkeypatch):
    monkeypatch.setattr("app.repositories.traffic_sources.SORTS", {"created_at": lambda _: func.no_such_function()})
    answer = story.client.get("/traffic-sources")
    refused(answer, 500)
    assert "did not answer" not in caplog.text
    assert "no_such_function" not in caplog.text


@pytest.mark.parametrize("command", [["db", "upgrade"], ["purge"], ["rotate-keys"]])
def test_a_command_without_a_database_says_so_in_one_line(away, command):
    with away.app.app_context():
        result = away.app.test_cli_runner().invoke(args=command)
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()[-1]) < 250
    assert "Traceback" not in result.output
    assert "Error: The database" in result.output
    assert "canary-password" not in result.output


def test_a_folder_for_secrets_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="cannot be read or made") as caught:
        create_app({"DATABASE_URL": "sqlite://"}, str(tmp_path / "file"))
    assert "\n" not in str(caught.value)


def test_deleting_is_one_row_whatever_there_is_to_delete(app, story, dispatch, monkeypatch):
    """The rest goes in bites, which hold nobody up."""
    monkeypatch.setattr(purging, "BATCH_SIZE", 3)
    webhook_id = story.create_webhook()
    story.client.post(f"/webhooks/{webhook_id}/mute", {"until": in_days(1)})
    for number in range(8):
        story.report(pathnameUrl=f"/{number}")
    statements = []

    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note)
        assert story.client.delete(f"/webhooks/{webhook_id}").status_code == 204
        assert story.client.delete(f"/traffic-sources/{story.source_id}").status_code == 204
        event.remove(db.engine, "before_cursor_execute", note)
    deletions = [statement for statement in statements if statement.startswith("DELETE")]
    assert [statement.split()[2] for statement in deletions] == ["ingest_tokens", "alerts", "shared_traffic_sources"]
    assert count(app, TrafficRecord) == 8
    refused(story.client.get(f"/http-traffics/{story.source_id}"), 404)
    refused(story.client.get(f"/webhooks/{webhook_id}/status"), 404)
    dispatch()
    with app.app_context():
        for model in (TrafficRecord, Pathname, Domain, Delivery, Destination):
            assert db.session.scalar(select(func.count()).select_from(model)) == 0, model


def test_what_was_deleted_is_found_by_nobody(app, ana, story):
    story.create_webhook()
    record_id = story.report()
    webhook_id = ana.get(f"/webhooks/{story.source_id}").json[0]["id"]
    delivery_id = ana.get(f"/webhooks/{webhook_id}/deliveries").json["data"][0]["id"]
    token = story.create_token()["token"]
    assert ana.delete(f"/traffic-sources/{story.source_id}").status_code == 204
    for method, path in [
        ("GET", f"/traffic-sources/{story.source_id}"),
        ("GET", f"/webhooks/{story.source_id}"),
        ("GET", f"/webhooks/{webhook_id}/status"),
        ("DELETE", f"/webhooks/{webhook_id}"),
        ("POST", f"/webhooks/{webhook_id}/test"),
        ("POST", f"/deliveries/{delivery_id}/redeliver"),
        ("GET", f"/http-traffic-records/record/{record_id}"),
        ("GET", f"/domains/{story.source_id}"),
    ]:
        refused(ana.request(method, path), 404)
    refused(Client(app, token).post(f"/http-traffic-records/{story.source_id}", record()), 401)
    refused(ana.post(f"/http-traffic-records/{story.source_id}", record()), 404)
    assert ana.get("/traffic-sources").json["data"] == []
    Story(ana)
