"""Lists of whole records, domains and pathnames; single records; and query parameters, on every route."""

import json
import re
from functools import partial

import pytest
from sqlalchemy import text

from app.extensions import db
from app.models import Domain, Pathname, TrafficRecord
from app.repositories import traffic
from app.repositories.base import NEWEST_FIRST
from tests.integration.helpers import at_once, codes, count, refused, write, wrong_fields
from tests.integration.test_errors import at, lists, routes
from tests.integration.test_traffic import RECORD_FIELDS, SUMMARY_FIELDS, domains, pathnames
from tools.story import UNKNOWN_ID, Story, record

LISTED = (
    ("https://shop.example.com", "/Orders/100%"),
    ("https://shop.example.com", "/cart"),
    ("http://shop.example.com", "/orders/1"),
    ("https://legacy.example.com", "/"),
)


@pytest.fixture
def places(story):
    for domain, path in LISTED:
        story.report(domainUrl=domain, pathnameUrl=path, protocol=domain.partition(":")[0], method="options")
    return story


DOMAINS = {
    "": ["https://legacy", "http://shop", "https://shop"],
    "sortDirection=asc": ["https://shop", "http://shop", "https://legacy"],
    "sort=value": ["https://legacy", "https://shop", "http://shop"],
    "sort=value&sortDirection=desc": ["http://shop", "https://shop", "https://legacy"],
    "sort=protocol": ["http://shop", "https://shop", "https://legacy"],
    "value=SHOP": ["http://shop", "https://shop"],
    "value=shop&protocol=https": ["https://shop"],
    "protocol=http": ["http://shop"],
    "value=%25": [],
    "value=": ["https://legacy", "http://shop", "https://shop"],
}


def test_domains_are_filtered_and_sorted_as_asked(places):
    for query, found in DOMAINS.items():
        answer = places.client.get(f"/domains/{places.source_id}?{query}").json
        rows = [f"{row['protocol']}://{row['value'].partition('.')[0]}" for row in answer["data"]]
        assert rows == found, query
        assert answer["meta"]["totalItems"] == len(found)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["/cart", "/Orders/100%"]),
        ("sort=createdAt&sortDirection=asc", ["/Orders/100%", "/cart"]),
        ("sort=value&sortDirection=desc", ["/cart", "/Orders/100%"]),
        ("value=orders", ["/Orders/100%"]),
        ("value=%25", ["/Orders/100%"]),
        ("value=_art", []),
    ],
)
def test_pathnames_are_filtered_and_sorted_as_asked(places, query, found):
    (domain,) = places.client.get(f"/domains/{places.source_id}?value=shop&protocol=https").json["data"]
    answer = places.client.get(f"/pathnames/{places.source_id}/{domain['id']}?{query}").json
    assert [row["value"] for row in answer["data"]] == found
    assert answer["meta"]["totalItems"] == len(found)


@pytest.mark.parametrize("query", ["sort=id", "sort=protocol;", "sortDirection=up", "unknown=1", "value=%00"])
def test_an_unusable_parameter_of_places_is_refused_by_its_name(places, query):
    paths = [f"/domains/{places.source_id}", f"/pathnames/{places.source_id}/{domains(places)[0]['id']}"]
    for path in paths:
        assert wrong_fields(places.client.get(f"{path}?{query}"), "query") == {query.partition("=")[0]}
    assert wrong_fields(places.client.get(f"{paths[1]}?sort=protocol"), "query") == {"sort"}
    assert wrong_fields(places.client.get(f"{paths[0]}?protocol=ftp"), "query") == {"protocol"}


def whole(story, query=""):
    answer = story.client.get(f"/http-traffic-records/{story.source_id}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json


def test_whole_records_are_listed_as_one_is_shown(places):
    listed = whole(places)
    assert listed["meta"] == {"page": 1, "pageLimit": 10, "totalItems": 4}
    assert [(row["domain"], row["pathname"]) for row in listed["data"]] == list(reversed(LISTED))
    for row in listed["data"]:
        assert set(row) == RECORD_FIELDS
        assert row == places.client.get(f"/http-traffic-records/record/{row['id']}").json


PARTS = {
    "pathname=ORDERS": ["/orders/1", "/Orders/100%"],
    "pathname=100%25": ["/Orders/100%"],
    "pathname=_": [],
    "pathname=!": [],
    "pathname=orders&protocol=http": ["/orders/1"],
    "pathname=&sort=createdAt&sortDirection=asc": ["/Orders/100%", "/cart", "/orders/1", "/"],
    "method=options&pageLimit=1&page=2": ["/orders/1"],
    "method=get": [],
}


def test_whole_records_are_filtered_and_sorted_as_asked(places):
    other = Story(places.client, domain="other.example.com")
    other.report(pathnameUrl="/orders/of/another/source")
    for query, found in PARTS.items():
        assert [row["pathname"] for row in whole(places, query)["data"]] == found, query
    (id,) = [row["id"] for row in whole(places, "pathname=cart")["data"]]
    assert [row["id"] for row in whole(places, f"id={id}")["data"]] == [id]
    assert wrong_fields(places.client.get(f"/http-traffic-records/{places.source_id}?path=/"), "query") == {"path"}


def test_a_page_of_whole_records_is_read_one_by_one_and_holds_no_connection_meanwhile(app, story, monkeypatch):
    first, second, third = story.report(), story.report(), story.report()
    read, get = [], traffic.get

    def noting(record_id):
        read.append(record_id)
        return get(record_id)

    monkeypatch.setattr("app.repositories.traffic.get", noting)
    path = f"/http-traffic-records/{story.source_id}"
    parts = story.client.get(path, buffered=False).iter_encoded()
    start = next(parts) + next(parts)
    assert read == [third]
    with app.app_context():
        assert "Checked out connections: 0" in db.engine.pool.status()
    story.client.delete(f"/http-traffic-records/record/{second}")
    listed = json.loads(start + b"".join(parts))
    assert [row["id"] for row in listed["data"]] == [third, first]
    assert listed["meta"]["totalItems"] == 3


def test_methods_that_arkyns_panel_does_not_know_are_whole_records_all_the_same(places):
    assert places.client.get(f"/http-traffics/{places.source_id}").json["meta"]["totalItems"] == 0
    assert whole(places)["meta"]["totalItems"] == 4


@pytest.mark.parametrize("path", ["/http-traffics", "/http-traffic-records"])
def test_of_records_sorted_otherwise_than_by_time_only_the_first_10_000_are_listed(story, path):
    for query, wanted in [("sort=status&", (200, 400)), ("sort=createdAt&", (200, 200)), ("", (200, 200))]:
        for page, code in zip((100, 101), wanted, strict=True):
            answer = story.client.get(f"{path}/{story.source_id}?{query}page={page}&pageLimit=100")
            assert answer.status_code == code, answer.text
            assert code == 200 or wrong_fields(answer, "query") == {"page"}


def test_one_record_is_shown_as_the_list_shows_it(story):
    id = story.report()
    answer = story.client.get(f"/http-traffics/{story.source_id}/{id}")
    assert set(answer.json) == SUMMARY_FIELDS
    assert [answer.json] == story.client.get(f"/http-traffics/{story.source_id}?id={id}").json["data"]


def test_a_record_of_another_source_is_not_found_in_this_one(story):
    id = Story(story.client, domain="other.example.com").report()
    for other in (id, UNKNOWN_ID, "none"):
        refused(story.client.get(f"/http-traffics/{story.source_id}/{other}"), 404)


def test_a_deleted_record_goes_and_takes_with_it_what_no_other_needs(app, story):
    first, second = story.report(), story.report()
    path = "/http-traffic-records/record/{}"
    answer = story.client.delete(path.format(first))
    assert (answer.status_code, answer.data) == (204, b"")
    refused(story.client.get(path.format(first)), 404)
    refused(story.client.delete(path.format(first)), 404)
    assert len(pathnames(story, domains(story)[0]["id"])) == 1
    assert story.client.delete(path.format(second)).status_code == 204
    assert [count(app, model) for model in (TrafficRecord, Pathname, Domain)] == [0, 0, 0]


def test_of_deletions_of_a_record_at_once_one_finds_it(story):
    path = f"/http-traffic-records/record/{story.report()}"
    assert codes(at_once(*[partial(story.client.delete, path)] * 4)) == [204, 404, 404, 404]


def test_no_route_ignores_a_parameter_that_it_does_not_know(app, ana):
    seen = set()
    for method, path in routes(app):
        if path.startswith(("/docs/<", "/v1/traces")):
            continue
        for query in ("unknown=1", "unknown=", "%75nknown"):
            answer = ana.request(method, f"{at(path)}?{query}", json={})
            assert wrong_fields(answer, "query") == {"unknown"}, (method, path)
        seen.add(path)
    assert {"/user", "/healthz", "/metrics", "/openapi.json", "/webhooks/<id:webhook_id>"} <= seen


def test_the_refusal_of_a_parameter_names_those_that_there_are(ana):
    message = refused(ana.get("/traffic-sources?sortdirection=asc"), 400)["message"]
    assert "sortdirection" in message
    assert "sortDirection" in message
    assert "no parameters" in refused(ana.get("/user?page=1"), 400)["message"]


def test_a_token_is_judged_before_the_parameters(client, ids):
    refused(client.get("/user?unknown=1", headers={"Authorization": "Bearer x"}), 401)
    for path in lists(ids):
        refused(client.get(f"{path}?unknown=1", headers={"Authorization": "Bearer x"}), 401)
    report = f"/http-traffic-records/{ids['source']}?unknown=1"
    refused(client.post(report, {}, headers={"Authorization": "Bearer ingest_x"}), 401)


@pytest.fixture
def ids(story):
    return {"source": story.source_id, "webhook": story.create_webhook()}


@pytest.mark.parametrize("others", [0, 1])
def test_a_list_looks_up_the_records_of_its_page_alone(app, ana, story, statements, others):
    """By the plan: it joins no whole table, and searches no records of another source."""
    with app.app_context():
        for reporter in [story, *(Story(ana, domain=f"{number}.example.com") for number in range(others))]:
            for _ in range(6):
                reporter.report_batch(*[record()] * 500)
        write(app, text("ANALYZE http_traffic_records"))
        statements.clear()
        assert story.client.get(f"/http-traffics/{story.source_id}").json["meta"]["totalItems"] == 3_000
        if db.is_postgresql:
            (records,) = [line for line in prepared_plan(story.source_id) if "http_traffic_records records " in line]
            assert re.search(r"actual .*rows=1(\.00)? loops=10\)", records)
        else:
            ((sql, given),) = [seen for seen in statements if "AS counted" in seen[0]]
            plan = [row[-1] for row in db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given)]
            assert not [line for line in plan if line.startswith("SCAN http_traffic_records")]
            assert len([line for line in plan if "ix_http_traffic_records_listed" in line]) == 2


def prepared_plan(source_id):
    """PostgreSQL's plan of the list that was read last, as it is prepared."""
    used = db.autocommit.connect()
    unfiltered = traffic._list(("known_methods",), NEWEST_FIRST, "strpos")._sql
    prepared = used.driver_connection.execute("SELECT name, statement FROM pg_prepared_statements").fetchall()
    (name,) = [name for name, statement in prepared if statement == unfiltered]
    explain = f"EXPLAIN (ANALYZE) EXECUTE {name} ('{source_id}', 10, 0)"
    plan = [line for (line,) in used.driver_connection.execute(explain).fetchall()]
    used.close()
    return plan
