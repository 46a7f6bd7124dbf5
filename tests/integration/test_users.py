"""Accounts and sign-in."""

from functools import partial
from typing import Any

import pytest

from app.api.users import accounts
from app.extensions import db
from app.models import User
from tests.integration.helpers import all_rows, at_once, codes, count, is_id, is_time, refused, wrong_fields
from tests.support import without
from tools.story import PASSWORD

USER_FIELDS = {"id", "name", "email", "avatarUrl", "utc", "role", "createdAt", "updatedAt"}
NEW_PASSWORD = "another canary password"


def new_user(**fields):
    return {"name": "Eva", "email": "eva@example.com", "password": PASSWORD, **fields}


def test_signing_up_answers_exactly_the_users_fields(client):
    answer = client.post("/user", new_user())
    assert answer.status_code == 201
    assert set(answer.json) == USER_FIELDS
    assert is_id(answer.json["id"])
    assert is_time(answer.json["createdAt"])
    assert is_time(answer.json["updatedAt"])
    assert answer.json["avatarUrl"].startswith("https://")
    shown = {name: answer.json[name] for name in ("name", "email", "utc", "role")}
    assert shown == {"name": "Eva", "email": "eva@example.com", "utc": 0.0, "role": "user"}


@pytest.mark.parametrize("email", ["eva@example.com", "EVA@Example.COM", "  Eva@example.com "])
def test_an_email_registers_once_whatever_its_case(client, email):
    client.post("/user", new_user())
    assert "e-mail" in refused(client.post("/user", new_user(email=email, name="Other")), 409)["message"]


def test_of_equal_registrations_at_once_one_wins(app, client):
    answers = at_once(*[partial(client.post, "/user", new_user())] * 6)
    assert codes(answers) == [201] + [409] * 5
    assert count(app, User) == 1


def test_where_registration_is_closed_nobody_signs_up_and_accounts_still_sign_in(make_app, client):
    client.post("/user", new_user())
    closed = type(client)(make_app(REGISTRATION="closed"))
    assert "closed" in refused(closed.post("/user", new_user(email="new@example.com")), 403)["message"]
    assert closed.sign_in("eva@example.com").get("/user").status_code == 200


def test_a_closed_registration_still_names_a_bad_body_first(make_app, client):
    closed = type(client)(make_app(REGISTRATION="closed"))
    assert wrong_fields(closed.post("/user", new_user(email="no"))) == {"email"}


def test_an_unusable_password_is_refused(app, client):
    for password in ("", "nine char", "x" * 201, None, 1234567890, ["x" * 12]):
        assert wrong_fields(client.post("/user", new_user(password=password))) == {"password"}, password
    assert count(app, User) == 0


@pytest.mark.parametrize("password", ["x" * 10, "x" * 200, "пароль 密码 🔑🔑", "  spaces stay  ", "nul \x00 inside it"])
def test_a_password_signs_in_exactly_as_it_was_given(client, password):
    client.sign_up("eva@example.com", password)
    trimmed = {"email": "eva@example.com", "password": f"{password} "}
    assert client.post("/user/auth", trimmed).status_code in (400, 401)


BAD_EMAILS = [
    "",
    "no-at-sign",
    "@example.com",
    "eva@",
    "eva@@example.com",
    "eva@exa mple.com",
    "eva@example..com",
    "Eva <eva@example.com>",
    "eva@example.com\n",
    "eva@example.com\x00",
    f"{'x' * 250}@example.com",
    None,
    5,
    ["eva@example.com"],
]
BAD_NAMES = ["", "   ", "x" * 101, "two\nlines", "nul\x00", None, 5, {}]


@pytest.mark.parametrize(("field", "values"), [("email", BAD_EMAILS), ("name", BAD_NAMES)])
def test_a_bad_email_or_name_is_refused(client, ana, field, values):
    for value in values:
        assert wrong_fields(client.post("/user", new_user(**{field: value}))) == {field}, value
        assert wrong_fields(ana.put("/user", {field: value})) == {field}, value


@pytest.mark.parametrize("field", ["name", "email", "password"])
def test_every_field_of_a_registration_is_required(client, field):
    assert wrong_fields(client.post("/user", without(new_user(), field))) == {field}


def test_a_registration_sets_nothing_else(client):
    for extra in ("id", "role", "utc", "passwordHash", "tokenVersion", "password_hash"):
        assert wrong_fields(client.post("/user", new_user(**{extra: "1"}))) == {extra}


def test_signing_in_answers_the_users_fields_and_a_token(client):
    client.post("/user", new_user())
    answer = client.post("/user/auth", {"email": "EVA@example.com", "password": PASSWORD})
    assert answer.status_code == 200
    assert set(answer.json) == USER_FIELDS | {"token"}
    assert type(client)(client.app, answer.json["token"]).get("/user").json == without(answer.json, "token")


def test_an_unknown_email_and_a_wrong_password_get_the_same_answer(client):
    client.post("/user", new_user())
    unknown = client.post("/user/auth", {"email": "who@example.com", "password": PASSWORD})
    wrong = client.post("/user/auth", {"email": "eva@example.com", "password": "wrong password"})
    assert refused(unknown, 401) == refused(wrong, 401)


@pytest.mark.parametrize(
    ("credentials", "fields"),
    [
        ({}, {"email", "password"}),
        ({"email": "eva@example.com"}, {"password"}),
        ({"email": "eva@example.com", "password": 5}, {"password"}),
        ({"email": "eva@example.com", "password": "x" * 201}, {"password"}),
        ({"email": ["eva@example.com"], "password": PASSWORD}, {"email"}),
        ({"email": "eva@example.com", "password": PASSWORD, "remember": True}, {"remember"}),
    ],
)
def test_unusable_credentials_are_a_bad_request(client, credentials, fields):
    assert wrong_fields(client.post("/user/auth", credentials)) == fields


def test_neither_the_password_nor_its_hash_is_ever_shown_or_the_password_kept(app, client):
    shown = client.post("/user", new_user()).text
    answer = client.post("/user/auth", {"email": "eva@example.com", "password": PASSWORD})
    shown += answer.text + type(client)(app, answer.json["token"]).get("/user").text
    rows = all_rows(app)
    assert "$argon2id$" in rows
    assert "$argon2id$" not in shown
    assert PASSWORD not in shown + rows


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"name": " Ana B. "}, {"name": "Ana B."}),
        ({"email": "Ana.B@Example.com"}, {"email": "ana.b@example.com"}),
        ({"utc": -3}, {"utc": -3.0}),
        ({"utc": 5.75}, {"utc": 5.75}),
        ({"utc": 14}, {"utc": 14.0}),
        ({"utc": -12}, {"utc": -12.0}),
        ({"name": "A", "email": "a@example.com", "utc": 1}, {"name": "A", "email": "a@example.com", "utc": 1.0}),
        ({"currentPassword": PASSWORD}, {}),
        ({}, {}),
    ],
)
def test_a_user_changes_what_is_sent_and_keeps_the_rest(ana, changes, shown):
    before = ana.get("/user").json
    answer = ana.put("/user", changes)
    assert answer.status_code == 200
    assert set(answer.json) == USER_FIELDS
    kept = ("avatarUrl", "updatedAt")
    assert without(answer.json, *kept) == without(before, *kept) | shown
    assert ana.get("/user").json == answer.json
    assert (answer.json["updatedAt"] > before["updatedAt"]) == bool(shown)


BAD_CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"utc": 14.5}, "utc"),
    ({"utc": -12.5}, "utc"),
    ({"utc": "3"}, "utc"),
    ({"utc": True}, "utc"),
    ({"utc": None}, "utc"),
    ({"role": "admin"}, "role"),
    ({"id": "x"}, "id"),
    ({"avatarUrl": "https://example.com"}, "avatarUrl"),
    ({"password": "short", "currentPassword": PASSWORD}, "password"),
    ({"password": NEW_PASSWORD}, "currentPassword"),
    ({"password": NEW_PASSWORD, "currentPassword": None}, "currentPassword"),
]


def test_a_bad_change_is_refused_by_its_field(ana):
    before = ana.get("/user").json
    for changes, field in BAD_CHANGES:
        assert wrong_fields(ana.put("/user", {"name": "Changed", **changes})) == {field}, changes
    assert ana.get("/user").json == before


def test_a_change_to_somebody_elses_email_is_a_conflict(ana, bob):
    refused(ana.put("/user", {"email": "BOB@example.com"}), 409)
    assert ana.get("/user").json["email"] == "ana@example.com"
    assert ana.put("/user", {"email": "ANA@example.com"}).status_code == 200


def test_of_changes_to_one_email_at_once_one_wins(ana, bob):
    answers = at_once(*[partial(who.put, "/user", {"email": "new@example.com"}) for who in (ana, bob)])
    assert codes(answers) == [200, 409]


def test_a_new_password_ends_every_older_token(client, ana):
    elsewhere = client.sign_in("ana@example.com")
    changes = {"password": NEW_PASSWORD, "currentPassword": PASSWORD}
    assert ana.put("/user", changes).status_code == 200
    refused(ana.get("/user"), 401)
    refused(elsewhere.get("/user"), 401)
    refused(client.post("/user/auth", {"email": "ana@example.com", "password": PASSWORD}), 401)
    assert client.sign_in("ana@example.com", NEW_PASSWORD).get("/user").status_code == 200


def test_a_wrong_current_password_changes_nothing(client, ana):
    changes = {"password": NEW_PASSWORD, "currentPassword": "wrong password", "name": "Changed"}
    refused(ana.put("/user", changes), 403)
    assert ana.get("/user").json["name"] == "ana"
    assert client.sign_in("ana@example.com")


def test_a_wrong_current_password_is_told_before_a_taken_email(ana, bob):
    refused(ana.put("/user", {"email": "bob@example.com", "currentPassword": "wrong password"}), 403)


def test_logging_out_ends_this_token_alone(client, ana):
    elsewhere = client.sign_in("ana@example.com")
    answer = ana.post("/user/logout")
    assert (answer.status_code, answer.data) == (204, b"")
    refused(ana.get("/user"), 401)
    refused(ana.post("/user/logout"), 401)
    assert elsewhere.get("/user").status_code == 200


def test_logging_out_many_times_at_once_is_no_error(ana):
    answers = at_once(*[partial(ana.post, "/user/logout")] * 8)
    assert set(codes(answers)) <= {204, 401}
    refused(ana.get("/user"), 401)


def test_no_connection_is_held_while_a_password_is_hashed_or_verified(app, client, ana, monkeypatch):
    held = []

    def watched(function):
        def watching(*arguments):
            held.append(db.session.registry.has() and db.session().in_transaction())
            return function(*arguments)

        return watching

    for name in ("hash_password", "verify_password"):
        monkeypatch.setattr(accounts, name, watched(getattr(accounts, name)))
    client.sign_up("bob@example.com")
    changes = {"name": "Ana", "currentPassword": PASSWORD, "password": "another canary password"}
    assert ana.put("/user", changes).status_code == 200
    assert held == [False] * 4
