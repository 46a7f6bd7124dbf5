"""What an operator looks at."""

import re
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from app.extensions import db
from tests.integration.helpers import refused, write
from tools.story import Client


def look_once(app, dispatcher):
    with app.app_context():
        dispatcher.work()


def test_a_process_that_answers_is_alive_even_without_its_database(client, away):
    assert client.get("/healthz").json == {"status": "ok"}
    assert away.get("/healthz").json == {"status": "ok"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_health_check_answers_text_as_arkyns_services_do(client, away, method):
    for each in (client, away):
        answer = each.request(method, "/health-check")
        assert (answer.status_code, answer.mimetype) == (200, "text/plain")
        assert bool(answer.data) == (method == "GET")


def test_without_a_dispatcher_the_service_is_not_ready(client):
    assert set(refused(client.get("/readyz"), 503)["errors"]) == {"dispatcher"}


@pytest.mark.parametrize(("ago", "code"), [(0, 200), (15, 200), (25, 503), (3600, 503)])
def test_the_service_is_ready_while_a_dispatcher_was_seen_lately(app, client, clock, make_dispatchers, ago, code):
    clock.advance(-ago)
    look_once(app, make_dispatchers())
    answer = client.get("/readyz")
    assert answer.status_code == code, answer.text
    if code == 200:
        assert answer.json["status"] == "ready"


def test_a_dispatcher_that_left_leaves_the_service_not_ready(app, client, make_dispatchers):
    dispatcher = make_dispatchers()
    look_once(app, dispatcher)
    assert client.get("/readyz").status_code == 200
    dispatcher.stop()
    with app.app_context():
        dispatcher.run()
    refused(client.get("/readyz"), 503)


def test_without_its_database_the_service_is_not_ready_and_says_nothing_of_it(away):
    body = refused(away.get("/readyz"), 503)
    assert set(body["errors"]) == {"database"}
    assert not re.search(r"canary|none|sqlite|psycopg|127\.0\.0\.1", str(body))


def test_without_its_database_every_other_answer_has_the_envelope(away):
    body = refused(away.get("/user", headers={"Authorization": "Bearer ingest_x"}), 401)
    assert not re.search(r"canary|none|sqlite|psycopg|127\.0\.0\.1", str(body))
    refused(away.post("/user/auth", {"email": "ana@example.com", "password": "x"}), 500)


@pytest.fixture
def empty(make_app, database_url, tmp_path) -> Client:
    """A client of a service whose database was never migrated."""
    url = f"sqlite:///{tmp_path}/empty.sqlite3"
    if database_url.startswith("postgresql"):
        url = f"{database_url}{'&' if '?' in database_url else '?'}options=-csearch_path%3Dnone"
    return Client(make_app(DATABASE_URL=url))


@contextmanager
def revision(app, name):
    with app.app_context():
        latest = db.session.scalar(text("SELECT version_num FROM alembic_version"))
    write(app, text("UPDATE alembic_version SET version_num = :name").bindparams(name=name))
    yield
    write(app, text("UPDATE alembic_version SET version_num = :latest").bindparams(latest=latest))


@pytest.fixture
def older(app, client):
    """A client of a service whose database lacks the latest migration."""
    with revision(app, "fa9aa68a5666"):
        yield client


def test_on_a_database_that_newer_code_migrated_the_service_serves_on(app, client):
    with revision(app, "newer"):
        assert set(refused(client.get("/readyz"), 503)["errors"]) == {"dispatcher"}


@pytest.mark.parametrize("service", ["empty", "older"])
def test_on_a_database_that_is_not_migrated_the_service_is_not_ready(request, app, service):
    (problem,) = refused(request.getfixturevalue(service).get("/readyz"), 503)["errors"]["database"]
    assert "db upgrade" in problem
