"""The console: who sees what, headers of its pages, and errors, which are pages, too."""

import re

import pytest

from app.console.assets import load
from tests.integration.helpers import refused
from tests.integration.pages import Elements, Person
from tools.story import UNKNOWN_ID, Story

PUBLIC = {"start", "sign_in_page", "sign_in", "sign_up_page", "sign_up", "static_file", "unknown_page"}
PUBLIC |= {"forgot_password_page", "forgot_password", "reset_password_page", "reset_password"}
OF_THE_INVITED = {"accept_invitation", "reject_invitation", "leave_source"}
# Deleting comes last: what the other routes are about must be there.
LAST = (
    "delete_share",
    "delete_token",
    "delete_alert",
    "delete_webhook",
    "delete_source",
    "sign_out",
    "sign_out_everywhere",
    "delete_account",
)
ALERT = {"kind": "silence", "minutes": "5", "webhookLevel": "fatal"}
FORMS = {
    "create_source": {"name": "Other", "trafficDomain": "other.example.com"},
    "change_source": {"name": "Renamed", "trafficDomain": "renamed.example.com"},
    "create_alert": ALERT,
    "change_alert": ALERT,
    "create_webhook": {"level": "info", "value": "42"},
    "change_webhook": {"value": "43"},
    "mute_webhook": {"hours": "1"},
    "change_account": {"name": "Ana", "email": "ana@example.com"},
    "change_password": {"currentPassword": "canary password", "password": "canary password"},
    "delete_account": {"password": "canary password"},
    "change_share": {"permission": "editor"},
    "invite": {"userEmail": "cora@example.com", "permission": "readOnly"},
}


@pytest.fixture
def stranger(app, bob):
    stranger = Person(app)
    stranger.sign_in("bob@example.com")
    return stranger


@pytest.fixture
def ids(ana, client, story):
    webhook_id = story.create_webhook()
    record_id = story.report()
    client.sign_up("cora@example.com")
    client.sign_up("dora@example.com")
    share = {"trafficSourceId": story.source_id, "userEmail": "dora@example.com"}
    return {
        "share_id": ana.post("/shared-traffic-sources", share).json["id"],
        "traffic_source_id": story.source_id,
        "webhook_id": webhook_id,
        "delivery_id": ana.get(f"/webhooks/{webhook_id}/deliveries").json["data"][0]["id"],
        "record_id": record_id,
        "alert_id": story.create_alert(ALERT | {"minutes": 5}),
        "token_id": story.create_token()["id"],
    }


@pytest.fixture
def routes(app):
    """Name, method and path of each page and form that needs a session."""
    found = [
        (rule.endpoint.partition(".")[2], method, rule.rule.replace("<id:", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.endpoint.startswith("console.")
    ]
    found.sort(key=lambda route: LAST.index(route[0]) if route[0] in LAST else -1)
    return [route for route in found if route[0] not in PUBLIC | OF_THE_INVITED]


def ask(person, name, method, path):
    return person.get(path) if method == "GET" else person.post(path, **FORMS.get(name, {}))


def test_every_page_and_form_asks_who_is_not_signed_in_to_sign_in(app, routes, ids):
    nobody = Person(app)
    for name, method, path in routes:
        answer = ask(nobody, name, method, path.format(**ids))
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/console/sign-in"), name


def test_every_page_and_form_about_a_thing_is_for_its_owner_alone(routes, ids, person, stranger):
    about_things = [route for route in routes if "{" in route[2]]
    for name, method, path in about_things:
        page = ask(stranger, name, method, path.format(**ids))
        assert page.status_code == 403, name
        assert "You do not have permission on this traffic source." in page.text
    for name, method, path in routes:
        answer = ask(person, name, method, path.format(**ids))
        assert answer.status_code in ((200,) if method == "GET" else (200, 302)), (name, answer.text)


def test_every_page_and_form_knows_nothing_of_what_is_not_there(routes, ids, person):
    for name, method, path in routes:
        first = path.partition("{")[2].partition("}")[0]
        for unknown in (UNKNOWN_ID, "x", "%00") if first else ():
            page = ask(person, name, method, path.replace(f"{{{first}}}", unknown).format(**ids))
            assert page.status_code == 404, name


def test_every_form_wants_the_token_of_the_session(routes, ids, person):
    for name, method, path in routes:
        if method == "POST":
            page = person.post(path.format(**ids), "forged", **FORMS.get(name, {}))
            assert page.status_code == 400, name
            assert "This page was open for too long. Try again." in page.text, name


def test_two_users_see_their_own_sources(ana, bob, person, stranger):
    Story(ana, name="Source of Ana")
    Story(bob, name="Source of Bob")
    assert "Source of Ana" in person.get("/console/sources").text
    assert "Source of Bob" not in person.page.text
    assert "Source of Bob" in stranger.get("/console/sources").text
    assert "Source of Ana" not in stranger.page.text


def test_every_page_carries_a_policy_that_lets_no_inline_script_or_style_run(routes, ids, person):
    for name, method, path in routes:
        if method == "GET":
            page = person.get(path.format(**ids))
            policy = page.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), name
            assert "unsafe" not in policy
            assert page.headers["Cache-Control"] == "no-store"
            elements = Elements(page)
            assert all("src" in script for script in elements.of("script")), name
            assert not elements.of("style"), name
            for _, attributes in elements.found:
                assert not [attribute for attribute in attributes if attribute == "style" or attribute[:2] == "on"]


def test_pages_of_errors_are_pages_and_the_apis_stay_json(person, ids, client):
    for path in ("/console/nothing", "/console/sources/", "/console/sign-out", "/console/static/x/y.js"):
        page = person.get(path)
        assert page.status_code == 404, path
        assert page.content_type == "text/html; charset=utf-8"
        assert page.headers["X-Request-Id"] in page.text
    refused(client.get("/consoles"), 404)
    refused(client.get("/nothing"), 404)


def test_an_unexpected_error_is_a_page_that_says_nothing_of_itself(person, monkeypatch):
    def fail(*arguments, **named):
        raise RuntimeError("canary of an error")

    monkeypatch.setattr("app.repositories.traffic_sources.list_of", fail)
    page = person.get("/console/sources")
    assert page.status_code == 500
    assert "canary" not in page.text
    assert "An unexpected server error occurred." in page.text


def test_an_impossible_parameter_is_refused_on_a_page(person, ids):
    page = person.get(f"/console/sources/{ids['traffic_source_id']}?hours=2")
    assert page.status_code == 400
    assert "hours: Must be one of: 1, 6, 24, 168." in page.text


def test_files_are_kept_by_browsers_as_long_as_they_do_not_change(person):
    for address in re.findall(r'(?:href|src)="(/console/static/[^"]+)"', person.get("/console/sources").text):
        answer = person.client.get(address)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        old = person.client.get(re.sub(r"static/\w+", "static/0123", address))
        assert old.data == answer.data
        assert old.headers["Cache-Control"] == "no-store"


def test_a_page_with_its_files_weighs_less_than_100_kb(routes, ids, person):
    files = sum(len(asset.content) for asset in load().values())
    for name, method, path in routes:
        if method == "GET":
            assert files + len(person.get(path.format(**ids)).data) < 100_000, name
