"""Who may do what: every route, as everybody that somebody can be to a traffic source."""

import pytest

from app.api.auth import THINGS
from tests.integration.helpers import api_rules, refused
from tests.support import in_days
from tools.story import PASSWORD, UNKNOWN_ID, WEBHOOK_TOKEN, WEBHOOK_URL, Client, Story, record, webhook

READER, EDITOR, OWNER = ("reader", "editor", "owner"), ("editor", "owner"), ("owner",)
# Who may call what names a traffic source or something below it. Everybody else is refused with 403.
MATRIX = {
    "get_traffic_source": READER,
    "list_series": READER,
    "update_traffic_source": OWNER,
    "delete_traffic_source": OWNER,
    "create_ingest_token": OWNER,
    "list_ingest_tokens": OWNER,
    "delete_ingest_token": OWNER,
    "create_webhook": EDITOR,
    "list_webhooks": READER,
    "update_webhook": EDITOR,
    "delete_webhook": EDITOR,
    "test_webhook": EDITOR,
    "get_webhook_status": READER,
    "mute_webhook": EDITOR,
    "unmute_webhook": EDITOR,
    "get_policy": READER,
    "replace_policy": EDITOR,
    "create_alert": EDITOR,
    "list_alerts": READER,
    "replace_alert": EDITOR,
    "delete_alert": EDITOR,
    "list_deliveries": READER,
    "redeliver": EDITOR,
    "list_attempts": READER,
    "create_traffic_record": OWNER,
    "create_traffic_records": OWNER,
    "list_traffic": READER,
    "get_traffic": READER,
    "list_traffic_records": READER,
    "get_traffic_record": READER,
    "delete_traffic_record": OWNER,
    "list_domains": READER,
    "list_pathnames": READER,
    # Reports name their source in the body.
    "ingest_log": OWNER,
    # Shares name theirs in the query or the body, or are the caller's own business.
    "share_traffic_source": OWNER,
    "accept_share": ("invited",),
    "reject_share": ("invited",),
    "update_share": OWNER,
    "delete_share": ("owner", "invited"),
}
# What everybody may call who is signed in, about themselves; and what needs no token of a user.
OF_ONESELF = {"get_user", "update_user", "delete_user", "sign_out", "create_traffic_source", "list_traffic_sources"}
OF_ONESELF |= {"list_shares"}
PUBLIC = {"create_user", "sign_in", "mail_password_link", "check_password_link", "change_password_by_link"}
PUBLIC |= {"get_health", "get_health_check", "get_readiness", "get_metrics"}
PUBLIC |= {"openapi_json", "openapi_swagger_ui", "swagger_ui_file"}
BY_INGEST_TOKEN = {"ingest_traces"}

ALERT = {"kind": "silence", "minutes": 5, "webhookLevel": "fatal"}
BODIES = {
    "create_webhook": webhook(level="info", value=WEBHOOK_URL),
    "update_webhook": webhook(value=WEBHOOK_URL),
    "update_traffic_source": {"name": "Renamed"},
    "mute_webhook": {"until": in_days(1)},
    "replace_policy": {"ignore": [{"status": "404"}]},
    "create_alert": ALERT,
    "replace_alert": ALERT,
    "update_share": {"permission": "editor"},
    "create_traffic_record": record(),
    "create_traffic_records": [record()],
}
# Deleting comes last: what the other routes are about must be there.
LAST = (
    "delete_share",
    "delete_ingest_token",
    "delete_traffic_record",
    "delete_alert",
    "delete_webhook",
    "delete_traffic_source",
)
PEOPLE = ("owner", "editor", "reader", "invited", "rejected", "stranger")
SECRETS = (WEBHOOK_TOKEN, "ingest_")


def share(owner, guest, source_id, permission="readOnly", answer=None):
    body = {"trafficSourceId": source_id, "userEmail": guest.get("/user").json["email"], "permission": permission}
    created = owner.post("/shared-traffic-sources", body)
    assert created.status_code == 201, created.text
    if answer:
        assert guest.post(f"/shared-traffic-sources/{created.json['id']}/{answer}").status_code == 200
    return created.json["id"]


@pytest.fixture
def people(client, ana, story) -> dict[str, Client]:
    """Everybody that somebody can be to Ana's source, by role."""
    found = {"owner": ana} | {role: client.sign_up(f"{role}@example.com") for role in PEOPLE[1:]}
    share(ana, found["editor"], story.source_id, "editor", "accept")
    share(ana, found["reader"], story.source_id, "readOnly", "accept")
    share(ana, found["rejected"], story.source_id, "editor", "reject")
    Story(found["stranger"])
    return found


@pytest.fixture
def ids(ana, story, people, dispatch):
    """One of each thing, all of the same source."""
    webhook_id = story.create_webhook(value=WEBHOOK_URL)
    record_id = story.report()
    dispatch()
    (domain,) = ana.get(f"/domains/{story.source_id}").json["data"]
    return {
        "traffic_source_id": story.source_id,
        "webhook_id": webhook_id,
        "delivery_id": ana.get(f"/webhooks/{webhook_id}/deliveries").json["data"][0]["id"],
        "record_id": record_id,
        "domain_id": domain["id"],
        "alert_id": story.create_alert(ALERT),
        "token_id": story.create_token()["id"],
        "share_id": share(ana, people["invited"], story.source_id, "editor"),
    }


@pytest.fixture
def calls(app, client, ids):
    """The routes of the matrix: name, method, path with the names of its ids, and body."""
    extra = client.sign_up("extra@example.com").get("/user").json["email"]
    bodies = BODIES | {
        "ingest_log": record(trafficSourceId=ids["traffic_source_id"]),
        "share_traffic_source": {"trafficSourceId": ids["traffic_source_id"], "userEmail": extra},
    }
    found = [
        (name, method, rule.rule.replace("<id:", "{").replace(">", "}"), bodies.get(name))
        for rule in api_rules(app)
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if (name := rule.endpoint.rpartition(".")[2]) in MATRIX
    ]
    return sorted(found, key=lambda call: LAST.index(call[0]) if call[0] in LAST else -1)


def test_every_route_is_in_the_matrix_or_known_to_need_no_place_there(app):
    routes = {rule.endpoint.rpartition(".")[2] for rule in api_rules(app)}
    assert routes == MATRIX.keys() | OF_ONESELF | PUBLIC | BY_INGEST_TOKEN


@pytest.mark.parametrize("role", PEOPLE)
def test_everybody_may_do_exactly_what_the_matrix_says(calls, ids, people, discord, role):
    who = people[role]
    refusals = [call for call in calls if role not in MATRIX[call[0]]]
    permitted = [call for call in calls if role in MATRIX[call[0]]]
    assert role in ("owner", "invited") or refusals
    for name, method, path, body in refusals:
        answer = who.request(method, path.format(**ids), json=body)
        assert answer.status_code == 403, (role, name, answer.text)
        assert_no_secret(answer.text)
    # An answered invitation is answered: of accepting and rejecting, one is enough.
    for name, method, path, body in [call for call in permitted if call[0] != "reject_share"]:
        answer = who.request(method, path.format(**ids), json=body)
        assert answer.status_code < 300, (role, name, answer.text)
        if role != "owner":
            assert_no_secret(answer.text)


def assert_no_secret(text):
    for secret in SECRETS:
        assert secret not in text


def test_nobody_gets_past_the_token(calls, ids, client, ana):
    forged = Client(client.app, f"{ana.token}x")
    for name, method, path, body in calls:
        refused(client.request(method, path.format(**ids), json=body), 400)
        refused(forged.request(method, path.format(**ids), json=body), 401)
        assert ana.get(f"/webhooks/{ids['webhook_id']}/status").status_code == 200, name


def test_every_route_knows_nothing_of_what_is_not_there(calls, ids, people):
    for _, method, path, body in calls:
        first = path.partition("{")[2].partition("}")[0]
        if not first:
            continue
        assert first in {*THINGS, "share_id"}, f"{path} names no thing whose owner is checked"
        for who in (people["owner"], people["reader"]):
            refused(who.request(method, path.format(**ids | {first: UNKNOWN_ID}), json=body), 404)


@pytest.mark.parametrize("role", PEOPLE)
def test_a_source_is_in_the_lists_of_those_who_may_read_it(ids, people, role):
    listed = [source["id"] for source in people[role].get("/traffic-sources").json["data"]]
    assert (ids["traffic_source_id"] in listed) == (role in READER)
    assert len(listed) == (role in (*READER, "stranger"))


@pytest.mark.parametrize("role", PEOPLE)
def test_only_the_owner_sees_the_token_of_a_webhook_url(ids, people, role):
    answer = people[role].get(f"/webhooks/{ids['traffic_source_id']}")
    if role in READER:
        shown = WEBHOOK_URL if role == "owner" else WEBHOOK_URL.replace(WEBHOOK_TOKEN, "****")
        assert [each["value"] for each in answer.json] == [shown]


def test_a_masked_url_cannot_be_sent_back(ids, people):
    (shown,) = people["editor"].get(f"/webhooks/{ids['traffic_source_id']}").json
    refused(people["editor"].put(f"/webhooks/{ids['webhook_id']}", {"value": shown["value"]}), 400)


def test_who_may_not_read_learns_nothing_of_a_password_either(ids, people):
    for role in PEOPLE:
        assert PASSWORD not in people[role].get("/traffic-sources").text
