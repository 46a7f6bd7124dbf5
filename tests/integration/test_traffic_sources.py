"""The applications that report traffic, and their ingest tokens."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from app.models import Delivery, Domain, IngestToken, Pathname, TrafficRecord, TrafficSource, Webhook
from app.models.columns import utcnow
from tests.integration.helpers import all_rows, at_once, codes, count, is_id, is_time, refused, write, wrong_fields
from tests.support import without
from tools.story import UNKNOWN_ID, Client, Story, record, webhook

FIELDS = {"id", "name", "trafficDomain", "userId", "createdAt", "updatedAt"}
TOKEN_FIELDS = {"id", "name", "trafficSourceId", "createdAt"}
NOT_IDS = ["none", UNKNOWN_ID, "1", "'", "%00", "01980000-0000-7000-8000-00000000000g"]
VALID_DOMAINS = {
    "api.payments.com": "api.payments.com",
    "API.Payments.com": "api.payments.com",
    " api.payments.com ": "api.payments.com",
    "localhost": "localhost",
    "localhost:8080": "localhost:8080",
    "127.0.0.1": "127.0.0.1",
    "x" * 63 + ".com": "x" * 63 + ".com",
    "https://api.payments.com": "https://api.payments.com",
    "http://api.payments.com:8080/v1": "http://api.payments.com:8080/v1",
    "https://api.payments.com/v1?token=s3cret#s3cret": "https://api.payments.com/v1",
    "https://[2001:db8::1]:8443": "https://[2001:db8::1]:8443",
    "пример.example": "пример.example",
}
INVALID_DOMAINS = [
    "",
    "  ",
    "not a host",
    "a..b",
    "-api.com",
    "api_.com/",
    "ftp://api.payments.com",
    "javascript:alert(1)",
    "https://",
    "https:///path",
    "https://a b.com",
    "https://api.com/a b",
    "https://[::1",
    "https://ana:s3cret@api.payments.com",
    "x" * 64 + ".com",
    "x." * 250,
    "https://a.com/" + "x" * 500,
    ".".join(["İ" * 63] * 3 + ["İ" * 61]),
    "api.com\x00",
    "api.com\nevil.com",
    None,
    5,
    ["api.com"],
]


def new_source(**fields):
    return {"name": "Payments API", "trafficDomain": "api.payments.com", **fields}


@pytest.fixture
def three(app, ana) -> list[str]:
    """Ids of sources called c, a and b, an hour between each, changed in the order a, c, b."""
    ids = [ana.create_source(f"{name}.example.com", name) for name in ("c", "a", "b")]
    for id, hours, changed in zip(ids, (1, 2, 3), (5, 4, 6), strict=True):
        times = {"created_at": utcnow() + timedelta(hours=hours), "updated_at": utcnow() + timedelta(hours=changed)}
        write(app, update(TrafficSource).where(TrafficSource.id == id).values(times))
    return ids


def names(answer):
    assert answer.status_code == 200, answer.text
    return [source["name"] for source in answer.json["data"]]


def test_a_new_source_has_exactly_its_fields(ana):
    answer = ana.post("/traffic-sources", new_source())
    assert answer.status_code == 201
    assert set(answer.json) == FIELDS
    assert is_id(answer.json["id"])
    assert answer.json["userId"] == ana.get("/user").json["id"]
    assert answer.json["createdAt"] == answer.json["updatedAt"]
    assert is_time(answer.json["createdAt"])
    assert without(answer.json, "id", "userId", "createdAt", "updatedAt") == new_source()
    assert ana.get(f"/traffic-sources/{answer.json['id']}").json == answer.json


@pytest.mark.parametrize("domain", VALID_DOMAINS)
def test_a_domain_is_a_host_name_or_a_url(ana, domain):
    answer = ana.post("/traffic-sources", new_source(trafficDomain=domain))
    assert answer.status_code == 201, answer.text
    assert answer.json["trafficDomain"] == VALID_DOMAINS[domain]


def test_another_domain_is_refused(app, ana):
    for domain in INVALID_DOMAINS:
        answer = ana.post("/traffic-sources", new_source(trafficDomain=domain))
        assert wrong_fields(answer) == {"trafficDomain"}, domain
    assert count(app, TrafficSource) == 0


def test_a_bad_name_is_refused(ana):
    id = ana.create_source()
    for name in ("", " ", "x" * 101, "a\tb", "nul\x00", None, 5):
        assert wrong_fields(ana.post("/traffic-sources", new_source(name=name))) == {"name"}, name
        assert wrong_fields(ana.put(f"/traffic-sources/{id}", {"name": name})) == {"name"}, name


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"name", "trafficDomain"}),
        ({"name": "a"}, {"trafficDomain"}),
        ({"trafficDomain": "a.com"}, {"name"}),
        (new_source(userId=UNKNOWN_ID), {"userId"}),
        (new_source(id=UNKNOWN_ID), {"id"}),
    ],
)
def test_a_new_source_takes_its_two_fields_and_no_other(ana, body, fields):
    assert wrong_fields(ana.post("/traffic-sources", body)) == fields


def test_a_user_has_a_domain_once_and_another_user_may_have_it_too(ana, bob):
    ana.create_source()
    refused(ana.post("/traffic-sources", new_source(trafficDomain="API.payments.com")), 409)
    assert bob.post("/traffic-sources", new_source()).status_code == 201


def test_of_equal_sources_created_at_once_one_is_kept(app, ana):
    answers = at_once(*[partial(ana.post, "/traffic-sources", new_source())] * 10)
    assert codes(answers) == [201] + [409] * 9
    assert count(app, TrafficSource) == 1


@pytest.mark.parametrize(
    "changes", [{"name": "New"}, {"trafficDomain": "new.example.com"}, {"name": "N", "trafficDomain": "n.io"}, {}]
)
def test_a_source_changes_what_is_sent_and_keeps_the_rest(ana, changes):
    before = ana.post("/traffic-sources", new_source()).json
    answer = ana.put(f"/traffic-sources/{before['id']}", changes)
    assert answer.status_code == 200
    assert set(answer.json) == FIELDS
    assert without(answer.json, "updatedAt") == without(before, "updatedAt") | changes
    assert ana.get(f"/traffic-sources/{before['id']}").json == answer.json


def test_a_change_to_a_domain_that_another_source_has_is_a_conflict(ana):
    ana.create_source("taken.com")
    id = ana.create_source("free.com")
    refused(ana.put(f"/traffic-sources/{id}", {"trafficDomain": "TAKEN.com"}), 409)
    assert ana.put(f"/traffic-sources/{id}", {"trafficDomain": "free.com"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/traffic-sources/{}", None),
        ("PUT", "/traffic-sources/{}", {"name": "Mine"}),
        ("DELETE", "/traffic-sources/{}", None),
        ("POST", "/traffic-sources/{}/ingest-tokens", {}),
        ("GET", "/traffic-sources/{}/ingest-tokens", None),
        ("DELETE", f"/traffic-sources/{{}}/ingest-tokens/{UNKNOWN_ID}", None),
    ],
)
def test_somebody_elses_source_is_forbidden_and_an_unknown_one_not_found(ana, bob, method, path, body):
    id = ana.create_source()
    before = ana.get(f"/traffic-sources/{id}").json
    refused(bob.request(method, path.format(id), json=body), 403)
    for unknown in (*NOT_IDS, id.upper()):
        refused(bob.request(method, path.format(unknown), json=body), 404)
    assert ana.get(f"/traffic-sources/{id}").json == before


def test_a_list_holds_the_callers_sources_newest_first(ana, bob, three):
    bob.create_source("bob.example.com")
    answer = ana.get("/traffic-sources")
    assert names(answer) == ["b", "a", "c"]
    assert answer.json["meta"] == {"page": 1, "pageLimit": 10, "totalItems": 3}
    assert [set(source) for source in answer.json["data"]] == [FIELDS] * 3


@pytest.mark.parametrize(
    ("page", "found"), [("page=1&pageLimit=2", "ba"), ("page=2&pageLimit=2", "c"), ("page=3&pageLimit=2", "")]
)
def test_a_list_comes_in_pages(ana, three, page, found):
    answer = ana.get(f"/traffic-sources?{page}")
    assert "".join(names(answer)) == found
    assert answer.json["meta"] == {"page": int(page[5]), "pageLimit": 2, "totalItems": 3}


@pytest.mark.parametrize(("sort", "found"), [("name", "abc"), ("createdAt", "bac"), ("updatedAt", "bca"), ("", "bac")])
def test_a_list_is_sorted_as_asked_times_descending_and_names_ascending(ana, three, sort, found):
    assert "".join(names(ana.get(f"/traffic-sources?sort={sort}"))) == found
    other = {"name": "desc"}.get(sort, "asc")
    same = {"asc": "desc", "desc": "asc"}[other]
    assert "".join(names(ana.get(f"/traffic-sources?sort={sort}&sortDirection={same}"))) == found
    assert "".join(names(ana.get(f"/traffic-sources?sort={sort}&sortDirection={other}"))) == found[::-1]


def test_an_unknown_order_is_refused(ana):
    for sort in ("id", "Name", "userId", "name;drop", "created_at", "-name"):
        assert wrong_fields(ana.get(f"/traffic-sources?sort={sort}"), "query") == {"sort"}, sort


NAMES = {"100% pay", "Pay_in", "PayXin", "back\\slash", "o'clock"}
FOUND = {
    "pay": {"100% pay", "Pay_in", "PayXin"},
    "PAY_": {"Pay_in"},
    "_": {"Pay_in"},
    "%25": {"100% pay"},
    "%25 p": {"100% pay"},
    "%5C": {"back\\slash"},
    "'": {"o'clock"},
    "nothing": set(),
    "": NAMES,
}


def test_a_list_is_filtered_by_part_of_the_name_taken_literally(ana):
    for number, name in enumerate(NAMES):
        ana.create_source(f"{number}.example.com", name)
    answers = {part: ana.get(f"/traffic-sources?name={part}") for part in FOUND}
    assert {part: set(names(answer)) for part, answer in answers.items()} == FOUND
    for part, answer in answers.items():
        assert answer.json["meta"]["totalItems"] == len(FOUND[part])


def test_deleting_a_source_removes_all_that_belongs_to_it_and_nothing_else(app, ana, dispatch):
    doomed, kept = Story(ana), Story(ana, domain="kept.example.com")
    for story in (doomed, kept):
        story.create_webhook("fatal")
        story.create_webhook("info")
        story.report(status=500)
        story.report(status=200, domainUrl="https://other.example.com")
        ana.post(f"/traffic-sources/{story.source_id}/ingest-tokens")
    models = (TrafficSource, Webhook, IngestToken, Delivery, Domain, Pathname, TrafficRecord)
    assert [count(app, model) for model in models] == [2, 4, 2, 4, 4, 4, 4]
    answer = ana.delete(f"/traffic-sources/{doomed.source_id}")
    assert (answer.status_code, answer.data) == (204, b"")
    dispatch()
    assert [count(app, model) for model in models] == [1, 2, 1, 2, 2, 2, 2]
    assert doomed.source_id not in all_rows(app)
    refused(ana.get(f"/traffic-sources/{doomed.source_id}"), 404)
    refused(ana.delete(f"/traffic-sources/{doomed.source_id}"), 404)
    assert len(ana.get(f"/webhooks/{kept.source_id}").json) == 2


def test_of_deletions_at_once_one_finds_the_source(ana):
    id = ana.create_source()
    answers = at_once(*[partial(ana.delete, f"/traffic-sources/{id}")] * 6)
    assert codes(answers) == [204] + [404] * 5


@pytest.fixture
def tokens_path(story) -> str:
    return f"/traffic-sources/{story.source_id}/ingest-tokens"


@pytest.mark.parametrize(("body", "name"), [(None, "ingest token"), ({}, "ingest token"), ({"name": "CI"}, "CI")])
def test_an_ingest_token_is_shown_once(app, ana, story, tokens_path, body, name):
    issued = ana.post(tokens_path, body)
    assert issued.status_code == 201
    assert set(issued.json) == TOKEN_FIELDS | {"token", "dsn"}
    assert is_id(issued.json["id"])
    assert is_time(issued.json["createdAt"])
    assert (issued.json["name"], issued.json["trafficSourceId"]) == (name, story.source_id)
    assert ana.get(tokens_path).json["data"] == [without(issued.json, "token", "dsn")]


@pytest.mark.parametrize(
    ("public_url", "host", "address"),
    [
        (None, "localhost", "http://{token}@localhost/{id}"),
        (None, "traffic.example.com:8443", "http://{token}@traffic.example.com:8443/{id}"),
        ("https://traffic.example.com/", "10.0.0.7", "https://{token}@traffic.example.com/{id}"),
        ("https://example.com/traffic", "10.0.0.7", "https://{token}@example.com/traffic/{id}"),
    ],
)
def test_a_dsn_is_all_that_a_reporter_needs_to_know(app, ana, tokens_path, monkeypatch, public_url, host, address):
    monkeypatch.setitem(app.config, "PUBLIC_URL", public_url)
    issued = ana.post(tokens_path, headers={"Host": host}).json
    assert issued["dsn"] == address.format(token=issued["token"], id=issued["trafficSourceId"])


@pytest.mark.parametrize("host", ["[", "x:abc", "x:99999", ":80"])
def test_no_token_is_issued_for_a_host_that_is_none(ana, tokens_path, host):
    refused(ana.post(tokens_path, headers={"Host": host}), 400)
    assert ana.get(tokens_path).json["data"] == []


@pytest.mark.parametrize("body", [{"name": ""}, {"name": "x" * 101}, {"name": 5}, {"name": None}, {"token": "mine"}])
def test_an_ingest_token_takes_a_name_and_nothing_else(ana, tokens_path, body):
    assert wrong_fields(ana.post(tokens_path, body)) == set(body)


def test_only_the_hash_of_an_ingest_token_is_kept(app, ana, tokens_path):
    token = ana.post(tokens_path).json["token"]
    assert len(token) > 40
    assert token.removeprefix("ingest_") not in all_rows(app)
    assert token != ana.post(tokens_path).json["token"]


def test_ingest_tokens_are_listed_in_pages_newest_first(ana, tokens_path):
    ids = [ana.post(tokens_path, {"name": name}).json["id"] for name in "abc"]
    answer = ana.get(f"{tokens_path}?pageLimit=2")
    assert [token["id"] for token in answer.json["data"]] == ids[:0:-1]
    assert answer.json["meta"] == {"page": 1, "pageLimit": 2, "totalItems": 3}


def reports(reporter: Client, source_id: str):
    yield reporter.post(f"/http-traffic-records/{source_id}", record())
    yield reporter.post(f"/http-traffic-records/{source_id}/batch", [record()])
    yield reporter.post("/ingest-log", record(trafficSourceId=source_id))


def test_an_ingest_token_reports_traffic_to_its_source_alone(app, ana, bob, story, tokens_path):
    reporter = Client(app, ana.post(tokens_path).json["token"])
    assert [answer.status_code for answer in reports(reporter, story.source_id)] == [201] * 3
    for other in (ana.create_source("other.example.com"), bob.create_source()):
        for answer in reports(reporter, other):
            refused(answer, 403)
    for answer in reports(reporter, UNKNOWN_ID):
        refused(answer, 404)
    assert count(app, TrafficRecord) == 3


def test_an_ingest_token_does_nothing_but_report(app, ana, story, tokens_path):
    reporter = Client(app, ana.post(tokens_path).json["token"])
    source, record_id = story.source_id, story.report()
    for method, path, body in [
        ("GET", "/user", None),
        ("PUT", "/user", {"name": "Mallory"}),
        ("POST", "/user/logout", None),
        ("GET", "/traffic-sources", None),
        ("POST", "/traffic-sources", new_source()),
        ("GET", f"/traffic-sources/{source}", None),
        ("DELETE", f"/traffic-sources/{source}", None),
        ("POST", tokens_path, None),
        ("GET", tokens_path, None),
        ("POST", f"/webhooks/{source}", webhook()),
        ("GET", f"/webhooks/{source}", None),
        ("GET", f"/http-traffics/{source}", None),
        ("GET", f"/http-traffic-records/record/{record_id}", None),
        ("GET", f"/domains/{source}", None),
    ]:
        refused(reporter.request(method, path, json=body), 401)


def test_a_revoked_ingest_token_ends_at_once_and_alone(app, ana, story, tokens_path):
    revoked, kept = ana.post(tokens_path).json, ana.post(tokens_path).json
    answer = ana.delete(f"{tokens_path}/{revoked['id']}")
    assert (answer.status_code, answer.data) == (204, b"")
    for report in reports(Client(app, revoked["token"]), story.source_id):
        refused(report, 401)
    assert [token["id"] for token in ana.get(tokens_path).json["data"]] == [kept["id"]]
    assert next(reports(Client(app, kept["token"]), story.source_id)).status_code == 201
    refused(ana.delete(f"{tokens_path}/{revoked['id']}"), 404)


def test_an_ingest_token_ends_with_its_source(app, ana, story, tokens_path):
    reporter = Client(app, ana.post(tokens_path).json["token"])
    ana.delete(f"/traffic-sources/{story.source_id}")
    for answer in reports(reporter, story.source_id):
        refused(answer, 401)


def test_an_ingest_token_is_revoked_under_its_own_source_alone(ana, tokens_path):
    token_id = ana.post(tokens_path).json["id"]
    other = ana.create_source("other.example.com")
    for path in (f"/traffic-sources/{other}/ingest-tokens/{token_id}", *(f"{tokens_path}/{id}" for id in NOT_IDS)):
        refused(ana.delete(path), 404)
    assert ana.get(tokens_path).json["meta"]["totalItems"] == 1
