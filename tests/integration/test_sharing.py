"""Sharing traffic sources: invitations, answers, and what ends with them."""

from functools import partial

import pytest

from app.models import Share
from tests.integration.helpers import at_once, codes, count, is_id, is_time, refused, wrong_fields
from tests.integration.test_access import share
from tools.story import PASSWORD, UNKNOWN_ID, Client, Story

FIELDS = {"id", "userId", "sharedWithId", "trafficSource", "permission", "status", "createdAt", "updatedAt"}
SOURCE_FIELDS = {"id", "name", "trafficDomain", "userId", "createdAt", "updatedAt"}
SHARES = "/shared-traffic-sources"


def invite(owner, source_id, email="bob@example.com", **fields):
    return owner.post(SHARES, {"trafficSourceId": source_id, "userEmail": email, **fields})


def listed(client, query=""):
    answer = client.get(f"{SHARES}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def id_of(client) -> str:
    return client.get("/user").json["id"]


def test_an_invitation_has_exactly_its_fields(ana, bob, story):
    answer = invite(ana, story.source_id, " BOB@Example.com ")
    assert answer.status_code == 201
    assert set(answer.json) == FIELDS
    assert set(answer.json["trafficSource"]) == SOURCE_FIELDS
    assert answer.json["trafficSource"] == ana.get(f"/traffic-sources/{story.source_id}").json
    assert is_id(answer.json["id"])
    assert is_time(answer.json["createdAt"])
    assert is_time(answer.json["updatedAt"])
    assert (answer.json["userId"], answer.json["sharedWithId"]) == (id_of(ana), id_of(bob))
    assert (answer.json["permission"], answer.json["status"]) == ("readOnly", "pending")
    assert listed(bob) == [answer.json]
    assert listed(ana, f"trafficSourceId={story.source_id}") == [answer.json]
    assert listed(ana) == []


def test_an_accepted_source_is_the_owners_in_the_others_list(ana, bob, story):
    invited = invite(ana, story.source_id, permission="editor").json
    accepted = bob.post(f"{SHARES}/{invited['id']}/accept")
    assert accepted.status_code == 200
    assert accepted.json["status"] == "accepted"
    assert accepted.json["updatedAt"] > invited["updatedAt"]
    (source,) = bob.get("/traffic-sources?name=PAY").json["data"]
    assert source == ana.get(f"/traffic-sources/{story.source_id}").json
    assert bob.get("/traffic-sources?name=other").json["meta"]["totalItems"] == 0


def test_own_and_shared_sources_are_listed_and_sorted_together(ana, bob, story):
    own = Story(bob, name="A of Bob").source_id
    share(ana, bob, story.source_id, answer="accept")
    assert [source["id"] for source in bob.get("/traffic-sources").json["data"]] == [own, story.source_id]
    assert bob.get("/traffic-sources?sort=name&sortDirection=desc&pageLimit=1").json["data"][0]["id"] == story.source_id


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"trafficSourceId": None}, "trafficSourceId"),
        ({"userEmail": 5}, "userEmail"),
        ({"userEmail": "x" * 300}, "userEmail"),
        ({"permission": "owner"}, "permission"),
        ({"permission": "readonly"}, "permission"),
        ({"status": "accepted"}, "status"),
    ],
)
def test_a_bad_invitation_is_refused_by_its_field(app, ana, bob, story, fields, wrong):
    body = {"trafficSourceId": story.source_id, "userEmail": "bob@example.com", **fields}
    assert wrong_fields(ana.post(SHARES, body)) == {wrong}
    assert count(app, Share) == 0


def test_refusals_come_in_the_order_of_the_contract(client, ana, bob, story):
    refused(invite(client, story.source_id), 400)
    refused(invite(Client(client.app, "x"), story.source_id), 401)
    assert "your own" in refused(invite(ana, UNKNOWN_ID, "ana@example.com"), 400)["message"]
    for unknown in (UNKNOWN_ID, "unknown", ""):
        refused(invite(ana, unknown), 404)
    refused(invite(bob, story.source_id, "ana@example.com"), 403)
    refused(invite(bob, story.source_id, "who@example.com"), 403)
    assert "account" in refused(invite(ana, story.source_id, "who@example.com"), 404)["message"]


@pytest.mark.parametrize("answer", [None, "accept", "reject"])
def test_somebody_is_invited_once_whatever_they_answered(ana, bob, story, answer):
    first = share(ana, bob, story.source_id, answer=answer)
    refused(invite(ana, story.source_id, permission="editor"), 409)
    assert ana.delete(f"{SHARES}/{first}").status_code == 204
    assert invite(ana, story.source_id, permission="editor").status_code == 201


def test_of_equal_invitations_at_once_one_wins(app, ana, bob, story):
    assert codes(at_once(*[partial(invite, ana, story.source_id)] * 6)) == [201] + [409] * 5
    assert count(app, Share) == 1


@pytest.mark.parametrize("first", ["accept", "reject"])
def test_an_invitation_is_answered_once(ana, bob, story, first):
    id = share(ana, bob, story.source_id, answer=first)
    for again in ("accept", "reject"):
        refused(bob.post(f"{SHARES}/{id}/{again}"), 409)
    assert listed(bob)[0]["status"] == f"{first}ed"


def test_of_answers_at_once_one_holds(ana, bob, story):
    id = share(ana, bob, story.source_id)
    answers = at_once(*[partial(bob.post, f"{SHARES}/{id}/{word}") for word in ("accept", "reject") * 3])
    assert codes(answers) == [200] + [409] * 5
    (kept,) = [answer.json["status"] for answer in answers if answer.status_code == 200]
    assert listed(bob)[0]["status"] == kept


def test_only_the_invited_answers(client, ana, bob, story):
    id = share(ana, bob, story.source_id)
    eve = client.sign_up("eve@example.com")
    for who in (ana, eve):
        for word in ("accept", "reject"):
            assert "invited" in refused(who.post(f"{SHARES}/{id}/{word}"), 403)["message"]
    refused(eve.delete(f"{SHARES}/{id}"), 403)
    for unknown in (UNKNOWN_ID, "unknown"):
        refused(bob.post(f"{SHARES}/{unknown}/accept"), 404)
        refused(bob.delete(f"{SHARES}/{unknown}"), 404)
    assert listed(eve) == []


@pytest.mark.parametrize("ended_by", ["owner", "invited"])
def test_an_ended_share_gives_no_access_any_more(ana, bob, story, ended_by):
    id = share(ana, bob, story.source_id, "editor", "accept")
    assert bob.get(f"/http-traffics/{story.source_id}").status_code == 200
    assert {"owner": ana, "invited": bob}[ended_by].delete(f"{SHARES}/{id}").status_code == 204
    refused(bob.get(f"/http-traffics/{story.source_id}"), 403)
    assert bob.get("/traffic-sources").json["data"] == listed(bob) == []
    refused(ana.delete(f"{SHARES}/{id}"), 404)


def test_the_shares_of_a_source_are_listed_for_its_owner_alone(ana, bob, story):
    share(ana, bob, story.source_id, "editor", "accept")
    refused(bob.get(f"{SHARES}?trafficSourceId={story.source_id}"), 403)
    refused(ana.get(f"{SHARES}?trafficSourceId={UNKNOWN_ID}"), 404)
    refused(ana.get(f"{SHARES}?trafficSourceId=unknown"), 404)
    other = Story(ana, domain="other.example.com").source_id
    assert listed(ana, f"trafficSourceId={other}") == []


def test_shares_come_in_pages_newest_first(ana, bob):
    sources = [Story(ana, domain=f"{number}.example.com").source_id for number in range(3)]
    for source_id in sources:
        share(ana, bob, source_id)
    pages = [bob.get(f"{SHARES}?page={page}&pageLimit=2").json for page in (1, 2)]
    assert [each["trafficSource"]["id"] for page in pages for each in page["data"]] == sources[::-1]
    assert pages[0]["meta"] == {"page": 1, "pageLimit": 2, "totalItems": 3}


def test_shares_go_with_their_source_and_with_either_user(app, client, ana, bob, story):
    id = share(ana, bob, story.source_id, answer="accept")
    assert ana.delete(f"/traffic-sources/{story.source_id}").status_code == 204
    assert listed(bob) == bob.get("/traffic-sources").json["data"] == []
    refused(bob.delete(f"{SHARES}/{id}"), 404)
    assert count(app, Share) == 0
    for gone in (bob, ana):
        source_id = Story(ana, domain="bob.example.com" if gone is bob else "ana.example.com").source_id
        share(ana, bob if gone is bob else client.sign_in("eve@example.com"), source_id, answer="accept")
        assert gone.delete("/user", json={"password": PASSWORD}).status_code == 204
        assert count(app, Share) == 0
        client.sign_up("eve@example.com") if gone is bob else None


def test_a_reader_of_one_source_reads_no_other(ana, bob, story):
    share(ana, bob, story.source_id, answer="accept")
    other = Story(ana, domain="other.example.com")
    other.report()
    refused(bob.get(f"/http-traffics/{other.source_id}"), 403)
    domain = ana.get(f"/domains/{other.source_id}").json["data"][0]["id"]
    refused(bob.get(f"/pathnames/{story.source_id}/{domain}"), 404)
    record_id = ana.get(f"/http-traffics/{other.source_id}").json["data"][0]["id"]
    refused(bob.get(f"/http-traffics/{story.source_id}/{record_id}"), 404)


def test_an_ingest_token_gives_no_more_than_before(app, ana, bob, story):
    token = story.create_token()["token"]
    for path in (SHARES, "/traffic-sources", f"/http-traffics/{story.source_id}"):
        refused(Client(app, token).get(path), 401)


def test_asking_by_invitations_who_has_an_account_is_limited(make_app, ana, bob, story):
    limited = Client(make_app(SIGN_UP_ADDRESS_LIMIT="3 per hour"), ana.token)
    answers = [invite(limited, story.source_id, f"who{number}@example.com").status_code for number in range(4)]
    assert answers == [404, 404, 404, 429]


def test_an_editor_reads_the_secrets_of_no_webhook_that_they_change(ana, bob, story):
    webhook_id = story.create_webhook()
    share(ana, bob, story.source_id, "editor", "accept")
    url = "https://discord.com/api/webhooks/5/bobs-token?thread_id=7"
    changed = bob.put(f"/webhooks/{webhook_id}", {"value": url})
    assert changed.json["value"] == "https://discord.com/api/webhooks/5/****?thread_id=7"
    assert ana.get(f"/webhooks/{story.source_id}").json[0]["value"] == url


@pytest.mark.parametrize("answer", [None, "accept"])
def test_the_owner_changes_a_permission_and_it_holds_at_once(ana, bob, story, answer):
    share_id = share(ana, bob, story.source_id, answer=answer)
    before = ana.get(f"{SHARES}?trafficSourceId={story.source_id}").json["data"][0]
    changed = ana.put(f"{SHARES}/{share_id}", {"permission": "editor"})
    assert changed.status_code == 200
    assert changed.json["updatedAt"] > before["updatedAt"]
    assert changed.json == before | {"permission": "editor", "updatedAt": changed.json["updatedAt"]}
    body = {"type": "discord", "level": "fatal", "value": "123"}
    assert bob.post(f"/webhooks/{story.source_id}", body).status_code == (201 if answer else 403)
    assert wrong_fields(ana.put(f"{SHARES}/{share_id}", {"permission": "owner"})) == {"permission"}
    assert wrong_fields(ana.put(f"{SHARES}/{share_id}", {})) == {"permission"}
    refused(bob.put(f"{SHARES}/{share_id}", {"permission": "readOnly"}), 403)
    refused(ana.put(f"{SHARES}/{UNKNOWN_ID}", {"permission": "editor"}), 404)
