"""`flask --app wsgi users`: what the keeper does for people."""

import re

import pytest

from app.models import PasswordLink, User
from tests.integration.helpers import count, refused
from tools.story import PASSWORD, Story

LINK = re.compile(r"^(\S+)/console/reset-password/([\w-]{43})$", re.MULTILINE)


@pytest.fixture
def users(app):
    """Runs a command, outside of any request."""

    def run(*arguments, input=None, app=app):
        return app.test_cli_runner().invoke(args=["users", *arguments], input=input)

    return run


def change(client, link, password="another canary password"):
    token = link.rpartition("/")[2]
    return client.post(f"/user/change-password-by-token/token/{token}", {"password": password})


def test_the_accounts_are_listed_in_a_table(users, ana, bob):
    Story(bob)
    head, *rows = users("list").stdout.splitlines()
    assert head.split() == ["E-MAIL", "NAME", "SOURCES", "CREATED"]
    assert [row.split()[:3] for row in rows] == [["ana@example.com", "ana", "0"], ["bob@example.com", "bob", "1"]]
    assert {row.index(row.split()[2]) for row in rows} == {head.index("SOURCES")}


def test_a_name_does_not_control_the_terminal(users, ana):
    ana.put("/user", {"name": "\u009b31m\u202eevil"})
    assert "\ufffd31m\ufffdevil" in users("list").stdout


def test_a_created_account_gets_its_password_by_the_printed_link(make_app, users, client):
    closed = make_app(REGISTRATION="closed", PUBLIC_URL="https://traffic.example.com/")
    made = users("create", "Eva@Example.com", "--name", "Eva", app=closed)
    assert made.exit_code == 0, made.output
    (link,) = LINK.finditer(made.stdout)
    assert link[1] == "https://traffic.example.com"
    assert made.stdout == f"{link[0]}\n"
    assert "eva@example.com" in made.stderr
    assert change(client, link[0]).status_code == 204
    eva = client.sign_in("eva@example.com", "another canary password")
    assert eva.get("/user").json["name"] == "Eva"
    assert type(client)(closed).sign_in("eva@example.com", "another canary password")


def test_an_account_is_named_by_its_address_if_nothing_else_is_said(app, users):
    assert users("create", "eva@example.com").exit_code == 0
    assert "eva@example.com  eva" in users("list").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-address"], "email: Must be an e-mail address"),
        (["eva@example.com", "--name", "x" * 101], "name: "),
        (["ana@example.com"], "exists already"),
    ],
)
def test_an_account_that_cannot_be_is_not_created(app, users, ana, arguments, told):
    made = users("create", *arguments)
    assert made.exit_code == 1
    assert told in made.stderr
    assert (count(app, User), count(app, PasswordLink)) == (1, 0)


def test_where_registration_is_for_the_first_a_created_account_is_the_first(make_app, users, client):
    first = type(client)(make_app(REGISTRATION="first"))
    users("create", "eva@example.com")
    refused(first.post("/user", {"name": "Ana", "email": "ana@example.com", "password": PASSWORD}), 403)


def test_a_link_to_reset_a_password_is_printed_and_changes_nothing_by_itself(users, client, ana):
    printed = users("reset-password", "ANA@example.com")
    (link,) = LINK.finditer(printed.stdout)
    assert link[1] == "http://127.0.0.1:8000"
    assert ana.get("/user").status_code == 200
    assert change(client, link[0]).status_code == 204
    refused(ana.get("/user"), 401)
    refused(change(client, link[0]), 400)


@pytest.mark.parametrize(("url", "is_told"), [("", True), ("https://arkyn.example.com", False)])
@pytest.mark.parametrize("command", [["reset-password", "ana@example.com"], ["create", "eva@example.com"]])
def test_a_link_without_a_public_url_is_said_to_have_perhaps_another_address(
    make_app, users, ana, command, url, is_told
):
    printed = users(*command, app=make_app(PUBLIC_URL=url))
    (link,) = LINK.finditer(printed.stdout)
    assert link[1] == (url or "http://127.0.0.1:8000")
    assert ("PUBLIC_URL is not set" in printed.stderr) == is_told


@pytest.mark.parametrize("command", [["reset-password"], ["delete", "--yes"]])
def test_an_unknown_account_is_told(app, users, ana, command):
    done = users(*command, "who@example.com")
    assert done.exit_code == 1
    assert "no account" in done.stderr
    assert count(app, User) == 1


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_nothing_is_deleted_before_it_is_confirmed(app, users, ana, story, answer):
    asked = users("delete", "ana@example.com", input=answer)
    assert asked.exit_code == 1
    assert "1 traffic source," in asked.stdout
    assert "cannot be undone" in asked.stdout
    assert ana.get(f"/traffic-sources/{story.source_id}").status_code == 200


@pytest.mark.parametrize(("options", "answer"), [([], "y\n"), (["--yes"], None)])
def test_a_confirmed_deletion_takes_all_that_belongs_to_the_account(app, users, ana, bob, story, options, answer):
    done = users("delete", "ana@example.com", *options, input=answer)
    assert done.exit_code == 0
    assert "Deleted ana@example.com with 1 traffic source." in done.stdout
    refused(ana.get("/user"), 401)
    assert bob.get("/user").status_code == 200
    assert count(app, User) == 1


def test_without_a_database_each_command_says_so_in_one_line(away):
    for command in (["list"], ["create", "e@example.com"], ["reset-password", "e@example.com"], ["delete", "e@e.com"]):
        done = away.app.test_cli_runner().invoke(args=["users", *command])
        assert done.exit_code == 1
        assert "Error: The database" in done.output
        assert "Traceback" not in done.output
