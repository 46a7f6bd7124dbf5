"""The console: sharing, and what readers and editors see and may do."""

import re

import pytest

from tests.integration.pages import Person, errors_of, note_of
from tests.integration.test_console_access import ALERT, FORMS
from tests.integration.test_console_sources import texts
from tools.story import WEBHOOK_TOKEN, WEBHOOK_URL, Story

READER = {"source_page", "traffic_page", "record_page", "webhooks_page", "deliveries_page", "delivery_page"}
READER |= {"alerts_page"}
EDITOR = {"create_webhook", "change_webhook", "test_webhook", "mute_webhook", "unmute_webhook", "redeliver"}
EDITOR |= {"delete_webhook_page", "delete_webhook"}
EDITOR |= {"policy_page", "change_policy", "add_policy_row", "preview_policy"}
EDITOR |= {"create_alert", "alert_page", "change_alert", "delete_alert_page", "delete_alert"}


@pytest.fixture
def guest(app, bob):
    guest = Person(app)
    guest.sign_in("bob@example.com")
    return guest


@pytest.fixture
def people_path(story):
    return f"/console/sources/{story.source_id}/people"


def invite(person, guest, people_path, permission):
    """Invite the guest, who accepts."""
    person.submit(people_path, userEmail="bob@example.com", permission=permission)
    page = guest.get("/console/sources")
    return guest.submit(re.search(r'action="(/console/invitations/[^"]+/accept)"', page.text)[1])


def test_who_is_invited_finds_the_invitation_accepts_and_sees_the_source(person, guest, story, people_path):
    person.submit(people_path, userEmail="bob@example.com", permission="readOnly")
    assert note_of(person.page) == "bob@example.com is invited, and finds the invitation at their sources."
    assert "pending" in texts(person.page)
    assert guest.get(f"/console/sources/{story.source_id}").status_code == 403
    page = guest.get("/console/sources")
    assert "ana ( ana@example.com ) shares Payments API with you, to read." in texts(page)
    page = guest.submit(re.search(r'action="(/console/invitations/[^"]+/accept)"', page.text)[1])
    assert page.request.path == f"/console/sources/{story.source_id}"
    assert "Shared with you" in texts(guest.get("/console/sources"))
    assert "accepted" in texts(person.get(people_path))


def test_who_rejects_an_invitation_sees_nothing(person, guest, story, people_path):
    person.submit(people_path, userEmail="bob@example.com", permission="editor")
    page = guest.get("/console/sources")
    page = guest.submit(re.search(r'action="(/console/invitations/[^"]+/reject)"', page.text)[1])
    assert note_of(page) == "The invitation is rejected."
    assert guest.get(f"/console/sources/{story.source_id}").status_code == 403


@pytest.mark.parametrize(
    ("email", "told"),
    [
        ("nobody@example.com", "There is no account with this e-mail. Ask the person to sign up first."),
        ("ana@example.com", "This is your own e-mail. Invite somebody else."),
        ("", "Length must be between 1 and 254."),
    ],
)
def test_who_cannot_be_invited_is_told_beside_the_field(person, people_path, email, told):
    page = person.post(people_path, userEmail=email, permission="readOnly")
    assert page.status_code in (400, 404)
    assert told in errors_of(page)["userEmail"]


def test_a_reader_becomes_an_editor_and_an_editor_a_reader(ana, bob, person, guest, story, people_path):
    invite(person, guest, people_path, "readOnly")
    change = re.search(r'action="([^"]+/people/[0-9a-f-]+)"', person.get(people_path).text)[1]
    for permission, verb, status in (("editor", "edit", 201), ("readOnly", "read", 403)):
        page = person.submit(change, permission=permission)
        assert note_of(page) == f"They may {verb} from now on."
        assert f'<option value="{permission}" selected>{verb}</option>' in page.text
        body = {"type": "discord", "level": "info", "value": WEBHOOK_URL}
        assert bob.post(f"/webhooks/{story.source_id}", body).status_code == status
    assert guest.post(change, permission="editor").status_code == 403
    page = person.post(change, permission="owner")
    assert page.status_code == 400
    assert person.post(change, "forged", permission="editor").status_code == 400
    assert (
        ana.get(f"/shared-traffic-sources?trafficSourceId={story.source_id}").json["data"][0]["permission"]
        == "readOnly"
    )


def test_who_declined_gets_no_choice_of_permissions(person, guest, people_path):
    person.submit(people_path, userEmail="bob@example.com", permission="readOnly")
    page = guest.get("/console/sources")
    guest.submit(re.search(r'action="(/console/invitations/[^"]+/reject)"', page.text)[1])
    assert 'name="permission"' not in person.get(people_path).text.partition("Invite somebody")[0]


def test_who_is_removed_sees_nothing_any_more(person, guest, story, people_path):
    invite(person, guest, people_path, "readOnly")
    remove = re.search(r'action="([^"]+/people/[^"]+/delete)"', person.get(people_path).text)[1]
    person.submit(remove)
    assert guest.get(f"/console/sources/{story.source_id}").status_code == 403


def test_who_was_invited_leaves_the_source_and_can_be_invited_again(person, guest, story, people_path):
    invite(person, guest, people_path, "editor")
    leave = re.search(r'action="(/console/invitations/[^"]+/leave)"', guest.get("/console/sources").text)[1]
    assert "/leave" not in person.get("/console/sources").text
    assert guest.post(leave, "forged").status_code == 400
    page = guest.submit(leave)
    assert note_of(page) == "You left the source, and do not see it any more."
    assert "Payments API" not in texts(page)
    assert guest.get(f"/console/sources/{story.source_id}").status_code == 403
    assert guest.post(leave).status_code == 404
    assert invite(person, guest, people_path, "readOnly").status_code == 200


def test_a_stranger_ends_nobodys_share(app, client, person, guest, story, people_path):
    invite(person, guest, people_path, "readOnly")
    leave = re.search(r'action="(/console/invitations/[^"]+/leave)"', guest.get("/console/sources").text)[1]
    client.sign_up("cora@example.com")
    stranger = Person(app)
    stranger.sign_in("cora@example.com")
    assert stranger.post(leave).status_code == 403
    assert guest.get(f"/console/sources/{story.source_id}").status_code == 200


@pytest.mark.parametrize(("permission", "allowed"), [("readOnly", READER), ("editor", READER | EDITOR)])
def test_readers_and_editors_may_do_what_they_may_by_the_api_and_see_no_secret(
    app, ana, person, guest, story, people_path, discord, permission, allowed
):
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    ids = {
        "traffic_source_id": story.source_id,
        "webhook_id": webhook_id,
        "record_id": story.report(),
        "token_id": story.create_token()["id"],
    }
    ids["delivery_id"] = ana.get(f"/webhooks/{webhook_id}/deliveries").json["data"][0]["id"]
    ids["share_id"] = webhook_id
    ids["alert_id"] = story.create_alert(ALERT | {"minutes": 5})
    invite(person, guest, people_path, permission)
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("console.") and "<id:" in rule.rule]
    for rule in sorted(rules, key=lambda rule: "delete" in rule.endpoint):
        name = rule.endpoint.partition(".")[2]
        path = rule.rule.replace("<id:", "{").replace(">", "}").format(**ids)
        if "/invitations/" in path:
            continue
        page = guest.get(path) if "GET" in rule.methods else guest.post(path, **FORMS.get(name, {}))
        assert (page.status_code < 400) == (name in allowed), (name, page.status_code)
        assert WEBHOOK_TOKEN not in page.text, name
        if page.status_code == 200:
            assert f"shared with you, to {'edit' if permission == 'editor' else 'read'}" in page.text, name
    assert WEBHOOK_TOKEN not in guest.get(f"/console/sources/{story.source_id}/webhooks?show={webhook_id}").text


def test_answered_invitations_do_not_hide_one_that_waits(person, guest, story, people_path, monkeypatch):
    monkeypatch.setattr("app.console.views.sources.MAX_INVITATIONS", 1)
    person.submit(people_path, userEmail="bob@example.com")
    other = Story(story.client, domain="other.example.com", name="Other")
    person.submit(f"/console/sources/{other.source_id}/people", userEmail="bob@example.com")
    newest = re.search(r"/console/invitations/[^/]+/reject", guest.get("/console/sources").text)[0]
    guest.submit(newest)
    assert "Payments API" in texts(guest.get("/console/sources"))


def test_who_declined_is_not_named(person, guest, people_path):
    person.submit(people_path, userEmail="bob@example.com")
    guest.submit(re.search(r"/console/invitations/[^/]+/reject", guest.get("/console/sources").text)[0])
    page = texts(person.get(people_path))
    assert "somebody who declined" in page
    assert "bob" not in page
