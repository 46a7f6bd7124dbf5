"""Who may do what: every route, as owner, stranger and nobody."""

import pytest

from app.api.auth import THINGS
from tests.integration.helpers import refused
from tests.support import in_days
from tools.story import UNKNOWN_ID, Client, Story, record, webhook

BODIES = {
    "create_webhook": webhook(level="info"),
    "update_webhook": webhook(value="42"),
    "update_traffic_source": {"name": "Renamed"},
    "mute_webhook": {"until": in_days(1)},
    "replace_policy": {"ignore": [{"status": "404"}]},
    "create_traffic_record": record(),
    "create_traffic_records": [record()],
}
# Deleting comes last: what the other routes are about must be there.
LAST = ("delete_ingest_token", "delete_webhook", "delete_traffic_source")


@pytest.fixture
def ids(ana, story):
    """One of each thing, all of the same source."""
    webhook_id = story.create_webhook()
    record_id = story.report()
    (domain,) = ana.get(f"/domains/{story.source_id}").json["data"]
    return {
        "traffic_source_id": story.source_id,
        "webhook_id": webhook_id,
        "delivery_id": ana.get(f"/webhooks/{webhook_id}/deliveries").json["data"][0]["id"],
        "record_id": record_id,
        "domain_id": domain["id"],
        "token_id": ana.post(f"/traffic-sources/{story.source_id}/ingest-tokens", {}).json["id"],
    }


@pytest.fixture
def routes(app):
    """Method, path with the names of its ids, and body of each route that names a thing."""
    found = [
        (rule.endpoint.rpartition(".")[2], method, rule.rule.replace("<id:", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if "<id:" in rule.rule
    ]
    found.sort(key=lambda route: LAST.index(route[0]) if route[0] in LAST else -1)
    return [(method, path, BODIES.get(name)) for name, method, path in found]


def test_every_route_that_names_a_thing_is_for_its_owner_alone(routes, ids, ana, bob, client):
    Story(bob)
    forged = Client(client.app, f"{ana.token}x")
    for method, path, body in routes:
        known = path.format(**ids)
        refused(client.request(method, known, json=body), 400)
        refused(forged.request(method, known, json=body), 401)
        refused(bob.request(method, known, json=body), 403)
    for method, path, body in routes:
        answer = ana.request(method, path.format(**ids), json=body)
        assert answer.status_code < 300, (method, path, answer.text)


def test_every_route_knows_nothing_of_what_is_not_there(routes, ids, ana):
    for method, path, body in routes:
        first = path.partition("{")[2].partition("}")[0]
        assert first in THINGS, f"{path} names no thing whose owner is checked"
        refused(ana.request(method, path.format(**ids | {first: UNKNOWN_ID}), json=body), 404)
