"""Links that set a forgotten password: by mail, once, for an hour, and without telling who has an account."""

import logging
import re
import socket
from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select, update

from app import mail
from app.accounts import mailer
from app.extensions import db
from app.models import PasswordLink, User
from app.models.columns import utcnow
from tests.integration.helpers import all_rows, at_once, codes, count, refused, write, wrong_fields
from tests.smtp import free_port, smtp_server
from tools.story import PASSWORD, Client

NEW = "another canary password"
HEADERS = {"Content-Type": "application/json"}
SITE = "https://traffic.example.com/arkyn"
LINK = re.compile(rf"^{re.escape(SITE)}/console/reset-password/([A-Za-z0-9_-]{{43}})$", re.MULTILINE)


@pytest.fixture
def inbox():
    with smtp_server() as server:
        yield server


@pytest.fixture
def make_site(make_app):
    """Nobody signed in, at a service that mails by the server at a port."""
    made = []

    def make(port) -> Client:
        url = f"smtp://127.0.0.1:{port}"
        app = make_app(SMTP_URL=url, MAIL_FROM="Traffic <traffic@example.com>", PUBLIC_URL=f"{SITE}/")
        made.append(app.extensions["mailer"])
        return Client(app)

    yield make
    for each in made:
        each.waiting.join()


@pytest.fixture
def site(make_site, inbox) -> Client:
    return make_site(inbox.port)


def forget(client, email="ana@example.com", **options):
    return client.request("POST", f"/user/forgot-password-token/email/{email}", headers=HEADERS, **options)


def validate(client, token):
    return client.request("POST", f"/user/validate-forgot-password-token/token/{token}", headers=HEADERS)


def change(client, token, password=NEW):
    return client.post(f"/user/change-password-by-token/token/{token}", {"password": password})


def token_in(message) -> str:
    (token,) = LINK.findall(message.get_content().replace("\r\n", "\n"))
    return token


@pytest.fixture
def token(site, inbox, ana) -> str:
    assert forget(site).status_code == 204
    return token_in(inbox.next())


def test_a_mailed_link_sets_a_new_password_and_ends_every_older_token(client, site, inbox, ana):
    answer = forget(site, "ANA@example.com")
    assert (answer.status_code, answer.data) == (204, b"")
    message = inbox.next()
    assert (message["To"], message["From"]) == ("ana@example.com", "Traffic <traffic@example.com>")
    token = token_in(message)
    assert validate(site, token).status_code == 204
    assert ana.get("/user").status_code == 200
    answer = change(site, token)
    assert (answer.status_code, answer.data) == (204, b"")
    refused(ana.get("/user"), 401)
    refused(client.post("/user/auth", {"email": "ana@example.com", "password": PASSWORD}), 401)
    assert client.sign_in("ana@example.com", NEW).get("/user").status_code == 200


def test_a_link_works_once(site, token):
    assert change(site, token).status_code == 204
    assert "ask for another" in refused(change(site, token, "a third password"), 400)["message"]
    refused(validate(site, token), 400)


def test_of_uses_of_a_link_at_once_one_sets_its_password(client, site, token):
    passwords = [f"canary password {number}" for number in range(6)]
    answers = at_once(*[partial(change, site, token, password) for password in passwords])
    assert codes(answers) == [204] + [400] * 5
    (winner,) = [word for word, answer in zip(passwords, answers, strict=True) if answer.status_code == 204]
    assert client.sign_in("ana@example.com", winner)


@pytest.mark.parametrize(("age", "code"), [(timedelta(minutes=59), 204), (timedelta(hours=1), 400)])
def test_a_link_is_good_for_an_hour(app, site, token, age, code):
    write(app, shifted(app, age))
    assert validate(site, token).status_code == code
    assert change(site, token).status_code == code


def shifted(app, age):
    with app.app_context():
        expires_at = db.session.scalar(select(PasswordLink.expires_at))
    assert timedelta(minutes=59) < expires_at - utcnow() <= timedelta(hours=1)
    return update(PasswordLink).values(expires_at=expires_at - age)


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "new@example.com"},
        {"password": "a third password", "currentPassword": PASSWORD},
    ],
)
def test_a_link_dies_with_a_change_of_e_mail_or_password(site, token, ana, changes):
    assert ana.put("/user", changes).status_code == 200
    refused(validate(site, token), 400)
    refused(change(site, token), 400)


def test_a_link_outlives_other_changes_and_a_sign_out(site, token, ana):
    ana.put("/user", {"name": "Ana B."})
    ana.post("/user/logout")
    assert change(site, token).status_code == 204


def test_one_used_link_makes_all_others_of_its_user_unusable_and_nobody_elses(app, site, inbox, token, bob):
    forget(site)
    second = token_in(inbox.next())
    forget(site, "bob@example.com")
    of_bob = token_in(inbox.next())
    assert change(site, token).status_code == 204
    refused(change(site, second), 400)
    assert count(app, PasswordLink) == 1
    assert change(site, of_bob).status_code == 204


def test_expired_links_go_when_another_is_made(app, site, inbox, token):
    write(app, update(PasswordLink).values(expires_at=utcnow()))
    forget(site)
    inbox.next()
    assert count(app, PasswordLink) == 1


@pytest.mark.parametrize("token", ["x", "x" * 43, "%00", "%27", "%ff", "é", "x" * 5000])
def test_a_token_that_is_none_of_ours_is_refused(site, ana, token):
    body = refused(validate(site, token), 400)
    assert refused(change(site, token), 400) == body


def test_a_short_password_is_refused_and_leaves_the_link_usable(site, token):
    assert wrong_fields(change(site, token, "nine char")) == {"password"}
    assert wrong_fields(site.post(f"/user/change-password-by-token/token/{token}", {})) == {"password"}
    assert change(site, token).status_code == 204


def test_no_password_is_hashed_for_a_link_that_is_not_good(site, monkeypatch):
    monkeypatch.setattr("app.accounts.recovery.hash_password", lambda _: 1 / 0)
    refused(change(site, "x" * 43), 400)


UNKNOWN = ["who@example.com", "no-address", "%00@example.com", "a/b@example.com", "é@example.com", "x" * 300, "%25"]


def test_who_has_no_account_gets_the_same_answer_and_no_mail(app, site, inbox, ana, bob):
    known = forget(site)
    for email in UNKNOWN:
        unknown = forget(site, email)
        assert (unknown.status_code, unknown.data) == (known.status_code, known.data), email
        assert set(unknown.headers.keys()) == set(known.headers.keys())
    forget(site, "bob@example.com")
    assert [inbox.next()["To"] for _ in range(2)] == ["ana@example.com", "bob@example.com"]
    assert inbox.mails.empty()
    assert count(app, PasswordLink) == 2


def test_a_request_does_nothing_that_depends_on_the_account(site, ana, monkeypatch):
    """It only puts the address in a queue: no time can tell."""
    put = []
    monkeypatch.setattr(mailer.Mailer, "put", lambda _, email: put.append(email))
    monkeypatch.setattr("app.repositories.users.get_by_email", lambda _: 1 / 0)
    for email in ("ana@example.com", "who@example.com"):
        assert forget(site, email).status_code == 204
    assert put == ["ana@example.com", "who@example.com"]


def test_without_a_mail_server_the_answer_is_the_same_and_nothing_happens(app, client, ana):
    assert forget(client).status_code == 204
    assert count(app, PasswordLink) == 0


def test_the_link_never_follows_the_host_header(site, inbox, ana):
    headers = HEADERS | {"Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com"}
    site.request("POST", "/user/forgot-password-token/email/ana@example.com", headers=headers)
    message = inbox.next()
    assert token_in(message)
    assert "evil" not in message.as_string()


def test_a_name_gets_into_no_mail(site, inbox, ana):
    ana.put("/user", {"name": "Click http://evil.example.com Bcc: eve@example.com"})
    forget(site)
    assert "evil" not in inbox.next().as_string()


def test_requests_for_one_account_are_limited_and_told_alike_without_one(site, inbox, ana):
    for email in ("ana@example.com", "who@example.com"):
        assert [forget(site, email).status_code for _ in range(6)] == [204] * 5 + [429]
    refusals = [refused(forget(site, email.upper()), 429) for email in ("ana@example.com", "who@example.com")]
    assert [inbox.next()["To"] for _ in range(5)] == ["ana@example.com"] * 5
    assert inbox.mails.empty()
    assert len({re.sub(r"\d", "", refusal["message"]) for refusal in refusals}) == 1


def test_requests_of_one_address_are_limited_over_all_accounts(site):
    answers = [forget(site, f"who{number}@example.com").status_code for number in range(101)]
    assert answers == [204] * 100 + [429]


def test_a_mail_server_that_hangs_holds_up_no_request_and_its_queue_is_bounded(make_site, ana, monkeypatch):
    monkeypatch.setattr(mailer, "MAX_WAITING", 3)
    monkeypatch.setattr(mail, "TIMEOUT_SECONDS", 20)
    with closing(socket.create_server(("127.0.0.1", 0))) as hanging:
        site = make_site(hanging.getsockname()[1])
        assert forget(site).status_code == 204
        connection, _ = hanging.accept()
        with closing(connection):
            rest = [forget(site, f"who{number}@example.com") for number in range(4)]
        assert [answer.status_code for answer in rest] == [204] * 3 + [503]
        assert "minute" in refused(rest[-1], 503)["message"]
        site.app.extensions["mailer"].waiting.join()


def test_a_mail_that_cannot_be_sent_is_logged_without_address_or_token_and_the_next_is_sent(
    site, inbox, ana, bob, caplog
):
    caplog.set_level(logging.DEBUG)
    inbox.refusal = "550 no such user ana@example.com"
    forget(site)
    inbox.refused.get(timeout=20)
    inbox.refusal = None
    forget(site, "bob@example.com")
    token = token_in(inbox.next())
    assert "not sent: SMTPDataError, code 550" in caplog.text
    validate(site, token)
    change(site, token)
    logged = "".join(record.getMessage() for record in caplog.records if record.name != "mail.log")
    assert "ana@example.com" not in logged
    assert token not in logged


@pytest.fixture
def lost(make_site) -> Client:
    """Nobody signed in, at a service whose mail server is not there."""
    return make_site(free_port())


def test_a_failing_database_or_server_does_not_end_the_thread(lost, ana, monkeypatch, caplog):
    with monkeypatch.context() as broken:
        broken.setattr("app.repositories.users.get_by_email", lambda _: 1 / 0)
        forget(lost)
        lost.app.extensions["mailer"].waiting.join()
    forget(lost)
    lost.app.extensions["mailer"].waiting.join()
    assert "not sent: ZeroDivisionError" in caplog.text
    assert "not sent: ConnectionRefusedError" in caplog.text


def test_whoever_changed_the_e_mail_by_a_token_alone_gets_no_link(client, site, inbox, ana, bob):
    """A thief of a sign-in token must not get a password by it."""
    assert ana.put("/user", {"email": "thief@example.com"}).status_code == 200
    before = ana.get("/user").json
    for email in ("thief@example.com", "bob@example.com"):
        assert forget(site, email).status_code == 204
    assert inbox.next()["To"] == "bob@example.com"
    client.sign_in("thief@example.com")
    assert ana.get("/user").json == before
    forget(site, "thief@example.com")
    assert inbox.next()["To"] == "thief@example.com"


def test_a_change_of_e_mail_with_the_password_counts_at_once(site, inbox, ana):
    ana.put("/user", {"email": "new@example.com", "currentPassword": PASSWORD})
    forget(site, "new@example.com")
    assert inbox.next()["To"] == "new@example.com"


def test_the_token_is_stored_as_a_hash_only(app, token):
    rows = all_rows(app)
    assert "password_links" in rows
    assert token not in rows


def test_a_deleted_user_leaves_no_link(app, site, token, ana):
    assert ana.delete("/user", json={"password": PASSWORD}).status_code == 204
    assert count(app, PasswordLink) == count(app, User) == 0
    refused(change(site, token), 400)
