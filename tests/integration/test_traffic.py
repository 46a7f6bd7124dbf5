"""Reported traffic: what is taken, what is kept of it, and how it is looked at."""

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, update

from app.extensions import db
from app.models import Delivery, Domain, Pathname, TrafficRecord
from app.repositories import base, reports, traffic
from app.repositories.base import list_room
from app.repositories.statements import Statement
from tests.integration.helpers import (
    all_rows,
    at_once,
    codes,
    count,
    events_owed,
    is_id,
    is_time,
    refused,
    write,
    wrong_fields,
)
from tests.support import without
from tools.story import UNKNOWN_ID, Client, Story, record

SUMMARY_FIELDS = {
    "id",
    "status",
    "method",
    "level",
    "elapsedTime",
    "trafficUserId",
    "trafficSourceId",
    "domainId",
    "pathnameId",
    "requestId",
    "responseId",
    "createdAt",
}
SHARED_FIELDS = {"id", "status", "method", "level", "elapsedTime", "trafficUserId", "trafficSourceId", "createdAt"}
RECORD_FIELDS = SHARED_FIELDS | {"protocol", "domain", "pathname", "request", "response"}
REQUIRED = (
    "domainUrl",
    "pathnameUrl",
    "status",
    "protocol",
    "method",
    "elapsedTime",
)
BAD_FIELDS = [
    *(("status", value) for value in (99, 1000, 0, -200, 200.5, "200", True, None, [200], 2**63)),
    *(("method", value) for value in ("", " get", "get it", "x" * 21, "g3t", 5, None, ["get"])),
    *(("protocol", value) for value in ("ftp", "", "https:", 5, None)),
    *(("pathnameUrl", value) for value in (5, None, ["/"])),
    *(("elapsedTime", value) for value in (-1, -0.001, "12", True, None, [1])),
    *(("trafficUserId", value) for value in (5, ["x"])),
    *(
        ("domainUrl", value)
        for value in (
            "api.payments.com",
            "ftp://api.payments.com",
            "https://",
            "https:///x",
            "https://:443",
            "https://a b",
            "https://a\nb",
            "https://a\x00b",
            "https://[::1",
            "https://a:99999",
            f"https://{'x' * 261}",
            "",
            5,
            None,
        )
    ),
]
SECRET = "canary-hunter2"


def accepted(count: int) -> dict[str, object]:
    return {"accepted": count, "repeated": 0, "rejected": []}


def path_of(story) -> str:
    return f"/http-traffic-records/{story.source_id}"


def seen_by(client, story, source_id=None) -> Story:
    """The same source, or another, in the hands of somebody else or at another process."""
    other = copy(story)
    other.client, other.source_id = client, source_id or story.source_id
    return other


def send(story, form, **fields):
    """Report one record by one of the three routes."""
    body = record(**fields)
    if form == "batch":
        return story.client.post(f"{path_of(story)}/batch", [body])
    if form == "log":
        return story.client.post("/ingest-log", body | {"trafficSourceId": story.source_id})
    return story.client.post(path_of(story), body)


def shown(story, **fields):
    """The whole record that a report makes."""
    answer = story.client.get(f"/http-traffic-records/record/{story.report(**fields)}")
    assert answer.status_code == 200, answer.text
    return answer.json


def listed(story, query=""):
    answer = story.client.get(f"/http-traffics/{story.source_id}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def domains(story):
    return story.client.get(f"/domains/{story.source_id}").json["data"]


def pathnames(story, domain_id):
    return story.client.get(f"/pathnames/{story.source_id}/{domain_id}").json["data"]


@pytest.mark.parametrize("form", ["record", "log"])
def test_a_report_is_answered_with_the_record_as_the_list_shows_it(story, form):
    answer = send(story, form, trafficUserId="u-1")
    assert answer.status_code == 201
    assert set(answer.json) == SUMMARY_FIELDS
    assert [answer.json] == listed(story)


def test_a_list_shows_exactly_the_summary_of_a_record(story):
    story.report(status=404, method="POST", elapsedTime=0.25, trafficUserId="u-1")
    (summary,) = listed(story)
    assert set(summary) == SUMMARY_FIELDS
    assert all(is_id(summary[name]) for name in ("id", "domainId", "pathnameId", "requestId", "responseId"))
    assert is_time(summary["createdAt"])
    facts = {name: summary[name] for name in ("status", "method", "level", "elapsedTime", "trafficUserId")}
    assert facts == {"status": 404, "method": "post", "level": "warning", "elapsedTime": 0.25, "trafficUserId": "u-1"}
    assert summary["trafficSourceId"] == story.source_id


def test_a_record_is_shown_whole(story):
    whole = shown(
        story,
        domainUrl="https://API.payments.com/ignored",
        pathnameUrl="/orders/123",
        requestBody={"amount": 5},
        responseBody="plain text",
    )
    assert set(whole) == RECORD_FIELDS
    assert set(whole["request"]) == {"headers", "bodyPreview", "bodyUrl", "queryParams", "createdAt"}
    assert set(whole["response"]) == {"headers", "bodyPreview", "bodyUrl", "createdAt"}
    assert (whole["domain"], whole["pathname"]) == ("https://api.payments.com", "/orders/123")
    assert without(whole["request"], "createdAt") == {
        "headers": '{"accept":"application/json"}',
        "bodyPreview": '{"amount":5}',
        "bodyUrl": "",
        "queryParams": '{"page":"1"}',
    }
    assert without(whole["response"], "createdAt") == {
        "headers": '{"content-type":"application/json"}',
        "bodyPreview": '"plain text"',
        "bodyUrl": "",
    }
    assert whole["request"]["createdAt"] == whole["response"]["createdAt"] == whole["createdAt"]
    (summary,) = listed(story)
    assert {name: whole[name] for name in SHARED_FIELDS} == {name: summary[name] for name in SHARED_FIELDS}


def test_a_record_without_bodies_and_user_is_shown_with_empty_ones(story):
    whole = shown(story)
    assert whole["trafficUserId"] is None
    assert (whole["request"]["bodyPreview"], whole["response"]["bodyPreview"]) == ("", "")


@pytest.mark.parametrize(
    ("status", "level"),
    [(100, "info"), (200, "info"), (399, "info"), (400, "warning"), (499, "warning"), (500, "fatal"), (599, "fatal")],
)
def test_the_level_follows_from_the_status(app, story, status, level):
    story.create_webhook(level)
    for form in ("record", "log", "batch"):
        assert send(story, form, status=status).status_code == 201
    assert [(row["status"], row["level"]) for row in listed(story)] == [(status, level)] * 3
    assert count(app, Delivery) == 3


def test_only_a_level_with_a_webhook_makes_a_notification(app, story):
    story.create_webhook("warning")
    story.report_batch(*(record(status=status) for status in (200, 399, 400, 404, 500)))
    assert count(app, TrafficRecord) == 5
    assert events_owed(app) == [2]


@pytest.mark.parametrize(
    ("method", "protocol"),
    [("GET", "HTTPS"), ("Post", "http"), ("put", "HTTP"), ("DELETE", "https"), ("patch", "Http")],
)
def test_method_and_protocol_are_taken_in_either_case(story, method, protocol):
    whole = shown(story, method=method, protocol=protocol)
    assert (whole["method"], whole["protocol"]) == (method.lower(), protocol.lower())


@pytest.mark.parametrize("held", [lambda value: value, json.dumps], ids=["values", "strings"])
def test_headers_bodies_and_parameters_come_as_json_or_as_strings_that_hold_it(story, held):
    whole = shown(
        story,
        requestHeaders=held({"a": ["1", "2"]}),
        queryParams=held({"q": "é"}),
        responseHeaders=held({}),
        requestBody=held({"password": SECRET, "n": 1}),
        responseBody=held([1, None, {"ok": True}]),
    )
    assert json.loads(whole["request"]["headers"]) == {"a": ["1", "2"]}
    assert json.loads(whole["request"]["queryParams"]) == {"q": "é"}
    assert json.loads(whole["response"]["headers"]) == {}
    assert json.loads(whole["request"]["bodyPreview"]) == {"password": "[redacted]", "n": 1}
    assert json.loads(whole["response"]["bodyPreview"]) == [1, None, {"ok": True}]


def test_a_body_may_be_any_value(story):
    for body, preview in [
        ("", ""),
        (None, ""),
        ("text", '"text"'),
        ("<p>é</p>", '"<p>é</p>"'),
        ("  ", '"  "'),
        ("NaN", '"NaN"'),
        (' {"a": 1}', ' {"a": 1}'),
        (5, "5"),
        (False, "false"),
        ("nul\x00", '"nul\N{REPLACEMENT CHARACTER}"'),
        ('{"cut": "o', r'"{\"cut\": \"o"'),
    ]:
        whole = shown(story, requestBody=body, responseBody=body)
        assert [whole[side]["bodyPreview"] for side in ("request", "response")] == [preview, preview]


@pytest.mark.parametrize(
    "body", [{"a": "x" * 5000}, "x" * 5000, "9" * 5000, "1 " + "x" * 5000, "[1]" + " " * 5000 + "x"]
)
def test_what_was_cut_of_a_body_is_shown_as_a_string(story, body):
    preview = json.loads(shown(story, responseBody=body)["response"]["bodyPreview"])
    assert isinstance(preview, str)
    start = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    assert start.startswith(preview.removesuffix("…"))
    assert len(preview) > 4000


def test_a_preview_that_an_earlier_version_stored_is_json_too(app, story):
    id = story.report(responseBody={})
    old = update(TrafficRecord).where(TrafficRecord.id == id)
    write(app, old.values(request_body="<html>", response_body='{"items":[{"a":"\x07'))
    whole = story.client.get(f"/http-traffic-records/record/{id}").json
    assert json.loads(whole["request"]["bodyPreview"]) == "<html>"
    assert json.loads(whole["response"]["bodyPreview"]) == '{"items":[{"a":"\x07'


@pytest.mark.parametrize("form", ["record", "log", "batch"])
def test_unknown_fields_are_ignored(story, form):
    extra = {"rawRequest": {"a": 1}, "bodyUrl": "x", "level": "info", "id": UNKNOWN_ID, "__proto__": {}}
    assert send(story, form, **extra).status_code == 201
    (summary,) = listed(story)
    assert summary["level"] == "fatal"
    assert summary["id"] != UNKNOWN_ID


def test_a_missing_field_is_refused_by_its_name(app, story):
    for field in REQUIRED:
        assert wrong_fields(story.client.post(path_of(story), without(record(), field))) == {field}
    assert wrong_fields(story.client.post(path_of(story), {})) == set(REQUIRED)
    assert count(app, TrafficRecord) == 0


def test_the_source_is_required_in_a_log(story):
    assert wrong_fields(story.client.post("/ingest-log", record())) == {"trafficSourceId"}
    assert wrong_fields(story.client.post("/ingest-log", record(trafficSourceId=5))) == {"trafficSourceId"}


def test_a_bad_field_is_refused_by_its_name(app, story):
    for field, value in BAD_FIELDS:
        assert wrong_fields(send(story, "record", **{field: value})) == {field}, value
        assert wrong_fields(send(story, "log", **{field: value})) == {field}, value
        assert refused(send(story, "batch", **{field: value}), 400)["errors"]["json"]["0"].keys() == {field}, value
    assert (count(app, TrafficRecord), count(app, Domain)) == (0, 0)


@pytest.mark.parametrize("elapsed", [0, 0.0001, 1, 12.5, 86_400_000, 1.7e308])
def test_any_elapsed_time_is_kept_and_told(story, dispatch, discord, elapsed):
    story.create_webhook()
    story.report(elapsedTime=elapsed)
    story.report(elapsedTime=elapsed)
    assert [row["elapsedTime"] for row in listed(story)] == [elapsed] * 2
    assert dispatch() == 1
    assert len(discord.messages) == 1


def test_a_batch_keeps_every_record(app, story):
    story.create_webhook("fatal")
    paths = [f"/orders/{number}" for number in range(300)]
    answer = story.client.post(
        f"{path_of(story)}/batch", [record(pathnameUrl=path, status=500) for path in paths for _ in range(2)]
    )
    assert (answer.status_code, answer.json) == (201, accepted(600))
    assert [count(app, model) for model in (TrafficRecord, Pathname, Domain)] == [600, 300, 1]
    assert events_owed(app) == [600]


def test_a_batch_owes_one_message_to_each_webhook_it_concerns(app, discord, dispatch, story):
    for level in ("fatal", "warning", "info"):
        story.create_webhook(level)
    story.report_batch(*(record(status=status) for status in (500, 404, 500, 503, 404)))
    assert sorted(events_owed(app)) == [2, 3]
    assert dispatch() == 2


def test_a_batch_takes_a_thousand_records_and_no_more(app, story):
    refused(story.client.post(f"{path_of(story)}/batch", [record(status=200)] * 1001), 400)
    assert count(app, TrafficRecord) == 0
    answer = story.client.post(f"{path_of(story)}/batch", [record(status=200)] * 1000)
    assert answer.json == accepted(1000)
    assert count(app, TrafficRecord) == 1000


def test_a_batch_larger_than_one_record_may_be_is_taken(story):
    batch = [record(requestBody="x" * 30_000) for _ in range(100)]
    assert story.client.post(f"{path_of(story)}/batch", batch).json == accepted(100)
    assert refused(story.client.post(path_of(story), record(requestBody="x" * 9_000_000)), 413)


@pytest.mark.parametrize(
    ("bad", "index", "field"),
    [({"status": 1000}, 0, "status"), ({"method": "a b"}, 2, "method"), ({"domainUrl": None}, 4, "domainUrl")],
)
def test_a_bad_record_is_named_by_its_index_and_costs_no_other(app, story, bad, index, field):
    story.create_webhook()
    batch = [record() for _ in range(5)]
    batch[index] |= bad
    answer = story.client.post(f"{path_of(story)}/batch", batch)
    assert answer.status_code == 201
    (rejected,) = answer.json["rejected"]
    assert (answer.json["accepted"], rejected["index"], list(rejected["errors"])) == (4, index, [field])
    assert count(app, TrafficRecord) == 4
    assert events_owed(app) == [4]


def test_what_is_no_record_costs_no_other(story):
    for item in (None, 5, "text", [], [record()]):
        answer = story.client.post(f"{path_of(story)}/batch", [record(), item])
        assert (answer.status_code, answer.json["accepted"]) == (201, 1), item
        assert [rejected["index"] for rejected in answer.json["rejected"]] == [1], item


def test_a_batch_with_nothing_usable_is_refused_by_index_and_field(app, story):
    body = refused(story.client.post(f"{path_of(story)}/batch", [record(status=0), 5]), 400)
    assert {index: list(errors) for index, errors in body["errors"]["json"].items()} == {
        "0": ["status"],
        "1": ["_schema"],
    }
    assert "0.status" in body["message"]
    refused(story.client.post(f"{path_of(story)}/batch", []), 400)
    assert count(app, TrafficRecord) == 0


ODD: list[dict[str, Any]] = [
    {"method": "HEAD"},
    {"method": "options"},
    {"method": "PROPFIND"},
    {"status": 600},
    {"status": 999},
    {"protocol": "ws", "domainUrl": "ws://api.payments.com"},
    {"protocol": "WSS", "domainUrl": "WSS://api.payments.com"},
    {"pathnameUrl": "orders"},
    {"pathnameUrl": ""},
    {"pathnameUrl": "/a\x00b\n"},
    {"pathnameUrl": "/" + "x" * 100_000},
    {"trafficUserId": "x" * 300},
    {"trafficUserId": "a\x00"},
    *({"requestHeaders": value} for value in ("no json", "", "5", 5, True, '"text"', "[" * 20_000, None)),
    {"queryParams": "a=b"},
    {"responseHeaders": [1, None, {}]},
]


def test_what_http_shows_costs_a_batch_no_alarm(story, dispatch, discord):
    """A probe, a preflight or a scanner's path in it must not cost the fatal error beside them."""
    story.create_webhook()
    for odd in ODD:
        answer = story.client.post(f"{path_of(story)}/batch", [record(status=200) | odd, record(status=500)])
        assert (answer.status_code, answer.json) == (201, accepted(2)), odd
    dispatch()
    assert sum(message.events for message in discord.messages) >= len(ODD)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("orders", "/orders"),
        ("", "/"),
        ("?page=1", "/"),
        ("/a\x00b", "/a\N{REPLACEMENT CHARACTER}b"),
        ("/a\r\nb\x7f", "/a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"),
        ("https://a.com/x", "/https://a.com/x"),
    ],
)
def test_an_odd_path_is_made_one(story, given, kept):
    assert shown(story, pathnameUrl=given)["pathname"] == kept


def test_websockets_count_as_http(story):
    whole = shown(story, protocol="ws", domainUrl="ws://api.payments.com:80/x")
    assert (whole["protocol"], whole["domain"]) == ("http", "http://api.payments.com")
    whole = shown(story, protocol="wss", domainUrl="wss://api.payments.com:443")
    assert (whole["protocol"], whole["domain"]) == ("https", "https://api.payments.com")


def test_a_lone_surrogate_costs_a_report_nothing(app, story):
    """JavaScript's and Python's JSON both write them."""
    story.create_webhook()
    odd = json.dumps([record(pathnameUrl="/a\ud800b", requestBody={"\udc00": "\ud83d\ude00"}), record()])
    answer = story.client.request("POST", f"{path_of(story)}/batch", data=odd, content_type="application/json")
    assert (answer.status_code, answer.json) == (201, accepted(2))
    paths = [row["value"] for row in pathnames(story, domains(story)[0]["id"])]
    assert "/a\N{REPLACEMENT CHARACTER}b" in paths
    assert "\N{GRINNING FACE}" in all_rows(app)
    for refused_body in ("NaN", '{"a": "\\ud800"', "\\ud800"):
        answer = story.client.request("POST", f"{path_of(story)}", data=refused_body, content_type="application/json")
        refused(answer, 400)


def test_what_python_writes_for_no_number_is_none(story):
    odd = json.dumps([record(requestBody={"a": float("nan")}), record(elapsedTime=float("inf")), record()])
    answer = story.client.request("POST", f"{path_of(story)}/batch", data=odd, content_type="application/json")
    assert (answer.status_code, answer.json["accepted"]) == (201, 2)
    assert [(rejected["index"], list(rejected["errors"])) for rejected in answer.json["rejected"]] == [
        (1, ["elapsedTime"])
    ]


def test_a_list_leaves_methods_out_that_the_panel_does_not_know_unless_asked_for(story):
    for method in ("get", "HEAD", "OPTIONS", "delete", "head"):
        story.report(method=method)
    assert [row["method"] for row in listed(story)] == ["delete", "get"]
    answer = story.client.get(f"/http-traffics/{story.source_id}?method=HEAD").json
    assert [row["method"] for row in answer["data"]] == ["head", "head"]
    assert answer["meta"]["totalItems"] == 2
    assert story.client.get(f"/http-traffics/{story.source_id}").json["meta"]["totalItems"] == 2


@pytest.mark.parametrize("body", [{}, record(), "text", 5, None])
def test_a_batch_is_an_array(story, body):
    answer = story.client.request(
        "POST", f"{path_of(story)}/batch", data=json.dumps(body), content_type="application/json"
    )
    refused(answer, 400)


def test_a_record_and_its_notification_are_kept_together_or_not_at_all(app, story, monkeypatch):
    story.create_webhook()

    with monkeypatch.context() as patch:
        # Which the database refuses.
        patch.setattr("app.digests.Digest.dumps", lambda _: None)
        for form in ("record", "log", "batch"):
            refused(send(story, form), 500)
    assert (count(app, TrafficRecord), count(app, Delivery)) == (0, 0)
    assert send(story, "record").status_code == 201
    assert (count(app, TrafficRecord), count(app, Delivery)) == (1, 1)


@pytest.mark.parametrize("form", ["record", "log", "batch"])
def test_traffic_of_somebody_elses_source_is_forbidden_and_of_an_unknown_one_not_found(app, story, bob, form):
    refused(send(seen_by(bob, story), form), 403)
    assert wrong_fields(bob.post("/ingest-log", {"trafficSourceId": story.source_id})) == set(REQUIRED)
    for id in (UNKNOWN_ID, "unknown", story.source_id.upper(), "'"):
        refused(send(seen_by(bob, story, id), form), 404)
    assert count(app, TrafficRecord) == 0


@pytest.mark.parametrize(
    "path", ["/http-traffics/{0}", "/http-traffic-records/record/{1}", "/domains/{0}", "/pathnames/{0}/{2}"]
)
def test_only_the_owner_sees_traffic(ana, bob, story, path):
    record_id = story.report()
    (domain,) = domains(story)
    ids = (story.source_id, record_id, domain["id"])
    assert ana.get(path.format(*ids)).status_code == 200
    refused(bob.get(path.format(*ids)), 403)
    for unknown in (UNKNOWN_ID, "unknown", "%27", "%00"):
        refused(ana.get(path.format(unknown, unknown, ids[2])), 404)


@pytest.fixture
def history(app, story):
    """Five records: what is told of each, newest first, is its path."""
    for day, (path, status, method, domain) in enumerate(
        [
            ("/1", 200, "get", "https://a.com"),
            ("/2", 404, "post", "https://a.com"),
            ("/3", 500, "get", "https://b.com"),
            ("/4", 503, "delete", "https://b.com"),
            ("/1", 500, "get", "http://a.com"),
        ],
        start=1,
    ):
        protocol = domain.partition(":")[0]
        id = story.report(
            pathnameUrl=path, status=status, method=method, domainUrl=domain, protocol=protocol, elapsedTime=day
        )
        at = datetime(2025, 7, day, 12, 0, 0, 250_000, tzinfo=UTC)
        write(app, update(TrafficRecord).where(TrafficRecord.id == id).values(created_at=at))
    return story


FILTERS = {
    "": "54321",
    "level=fatal": "543",
    "level=warning": "2",
    "level=info": "1",
    "method=get": "531",
    "method=DELETE": "4",
    "method=patch": "",
    "status=500": "53",
    "status=404": "2",
    "status=201": "",
    "level=fatal&method=get&status=500": "53",
    "level=info&status=500": "",
    "startDate=2025-07-03": "543",
    "endDate=2025-07-03": "321",
    "startDate=2025-07-02&endDate=2025-07-03": "32",
    "startDate=2025-07-03T12:00:00.250Z": "543",
    "startDate=2025-07-03T12:00:00.251Z": "54",
    "endDate=2025-07-03T12:00:00.250Z": "321",
    "endDate=2025-07-03T12:00:00.249Z": "21",
    "startDate=2025-07-03T14:00:00.250%2B02:00": "543",
    "startDate=2025-07-03T12:00:00.250": "543",
    "startDate=2025-07-05&endDate=2025-07-01": "",
    "startDate=0001-01-01&endDate=9999-12-31": "54321",
    "level=&method=&status=&domainId=&pathnameId=&startDate=&endDate=": "54321",
    "domainId=unknown": "",
    f"pathnameId={UNKNOWN_ID}": "",
    "protocol=http": "5",
    "protocol=https": "4321",
    "id=unknown": "",
    f"id={UNKNOWN_ID}": "",
    "sort=createdAt": "54321",
    "sort=createdAt&sortDirection=asc": "12345",
    "sortDirection=asc": "12345",
    "sortDirection=desc": "54321",
    "sort=status": "12354",
    "sort=status&sortDirection=desc": "45321",
    "sort=method": "41352",
    "sort=method&sortDirection=desc": "25314",
    "sort=level": "34512",
    "sort=level&sortDirection=desc": "21543",
    "sort=elapsedTime": "54321",
    "sort=elapsedTime&sortDirection=asc&level=fatal": "345",
    "sort=&sortDirection=&id=&protocol=": "54321",
}


def test_traffic_is_filtered_as_asked_newest_first(history):
    answers = {query: history.client.get(f"/http-traffics/{history.source_id}?{query}").json for query in FILTERS}
    found = {query: "".join(row["createdAt"][9] for row in answer["data"]) for query, answer in answers.items()}
    assert found == FILTERS
    for query, answer in answers.items():
        assert answer["meta"] == {"page": 1, "pageLimit": 10, "totalItems": len(FILTERS[query])}


def test_traffic_is_filtered_by_domain_and_pathname(history):
    found = {}
    for domain in domains(history):
        rows = listed(history, f"domainId={domain['id']}")
        found[f"{domain['protocol']}://{domain['value']}"] = "".join(row["createdAt"][9] for row in rows)
        for pathname in pathnames(history, domain["id"]):
            rows = listed(history, f"pathnameId={pathname['id']}&domainId={domain['id']}")
            assert {row["pathnameId"] for row in rows} == {pathname["id"]}
    assert found == {"https://a.com": "21", "https://b.com": "43", "http://a.com": "5"}


UNUSABLE = [
    "level=critical",
    "level=FATAL",
    "method=a%20b",
    "status=1000",
    "status=5xx",
    "status=99",
    "protocol=ftp",
    "protocol=HTTP",
    "sort=id",
    "sort=created_at",
    "sort=elapsedTime;",
    "sort=pathname",
    "sortDirection=up",
    "sortDirection=DESC",
    "unknown=1",
    "unknown=",
    "page_limit=5",
    "startDate=yesterday",
    "startDate=2025-02-30",
    "endDate=2025-13-01T00:00:00Z",
    "endDate=0001-01-01T00:00:00%2B14:00",
    "endDate=1753108200",
    "page=0",
    "pageLimit=101",
    "pageLimit=0",
    "endDate=2025-07-03T12:00:00Z%00",
]


def test_an_unusable_filter_is_refused_by_its_name(story):
    for query in UNUSABLE:
        answer = story.client.get(f"/http-traffics/{story.source_id}?{query}")
        assert wrong_fields(answer, "query") == {query.partition("=")[0]}, query


@pytest.mark.parametrize("what", ["/http-traffics/{0}", "/domains/{0}", "/pathnames/{0}/{1}"])
def test_a_list_comes_in_pages_newest_first(story, what):
    same = {} if "domains" not in what else {"pathnameUrl": "/"}
    for number in range(5):
        host = f"{number}.example.com" if "domains" in what else "example.com"
        story.report(**{"domainUrl": f"https://{host}", "pathnameUrl": f"/{number}"} | same)
    path = what.format(story.source_id, domains(story)[0]["id"])
    pages = [story.client.get(f"{path}?page={page}&pageLimit=2").json for page in (1, 2, 3, 4)]
    assert [len(page["data"]) for page in pages] == [2, 2, 1, 0]
    assert [page["meta"] for page in pages] == [
        {"page": number, "pageLimit": 2, "totalItems": 5} for number in (1, 2, 3, 4)
    ]
    ids = [row["id"] for page in pages for row in page["data"]]
    assert ids == sorted(set(ids), reverse=True)


def test_domains_and_pathnames_have_exactly_their_fields(story):
    story.report(domainUrl="https://api.payments.com:8443/x?y", pathnameUrl="/orders/1")
    (domain,) = domains(story)
    assert set(domain) == {"id", "value", "protocol", "trafficSourceId", "createdAt"}
    assert (domain["value"], domain["protocol"]) == ("api.payments.com:8443", "https")
    (pathname,) = pathnames(story, domain["id"])
    assert set(pathname) == {"id", "value", "domainId", "trafficSourceId", "createdAt"}
    assert (pathname["value"], pathname["domainId"]) == ("/orders/1", domain["id"])
    assert domain["trafficSourceId"] == pathname["trafficSourceId"] == story.source_id
    assert all(is_id(item["id"]) and is_time(item["createdAt"]) for item in (domain, pathname))


def test_a_domain_of_another_source_has_no_pathnames_here(ana, story):
    other = Story(ana, domain="other.example.com")
    other.report()
    refused(ana.get(f"/pathnames/{story.source_id}/{domains(other)[0]['id']}"), 404)


def test_a_place_is_kept_once_however_it_is_written(app, story):
    for domain in ("https://API.payments.com", "HTTPS://api.payments.com/v1?a=b", "https://u:p@api.payments.com"):
        for path in ("/orders", "/orders?page=1", "/orders#top"):
            story.report(domainUrl=domain, pathnameUrl=path)
    assert [count(app, model) for model in (Domain, Pathname, TrafficRecord)] == [1, 1, 9]


def test_under_any_concurrency_a_place_is_kept_once(app, make_app, story):
    """Of two processes, which remember nothing of each other."""
    stories = [story, seen_by(Client(make_app(), story.client.token), story)]
    paths = [f"/{number}" for number in range(30)]
    batches = [[record(pathnameUrl=path) for path in order] for order in (paths, paths[::-1])]
    calls = [partial(send, who, "record") for who in stories] * 5
    calls += [partial(who.client.post, f"{path_of(who)}/batch", batch) for who in stories for batch in batches]
    assert codes(at_once(*calls)) == [201] * 14
    assert [count(app, model) for model in (Domain, Pathname, TrafficRecord)] == [1, 31, 130]


def test_a_source_deleted_while_traffic_comes_in_answers_without_an_error(app, ana, dispatch):
    for number in range(10):
        story = Story(ana, domain=f"{number}.example.com")
        story.create_webhook()
        story.report()
        calls = [partial(send, story, "record", pathnameUrl=f"/{number % 3}") for number in range(8)]
        deletion = partial(ana.delete, f"/traffic-sources/{story.source_id}")
        deleted, *reported = at_once(deletion, *calls)
        assert deleted.status_code == 204
        assert set(codes(reported)) <= {201, 404}
    dispatch()
    assert [count(app, model) for model in (TrafficRecord, Delivery, Domain)] == [0, 0, 0]


def test_a_webhook_deleted_while_traffic_comes_in_costs_no_record(app, ana, story, dispatch):
    story.report()
    for _ in range(5):
        deletion = partial(ana.delete, f"/webhooks/{story.create_webhook()}")
        deleted, *reported = at_once(deletion, *[partial(send, story, "record")] * 7)
        assert (deleted.status_code, codes(reported)) == (204, [201] * 7)
    dispatch()
    assert (count(app, TrafficRecord), count(app, Delivery)) == (36, 0)


FORMS = ["record", "log"]


@pytest.mark.parametrize("form", FORMS)
def test_a_report_with_a_known_id_is_answered_like_the_first_and_stored_once(app, story, dispatch, discord, form):
    story.create_webhook()
    first = send(story, form, reportId="1-a", pathnameUrl="/first")
    again = send(story, form, reportId="1-a", pathnameUrl="/again", status=200)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json == first.json
    assert send(story, form, reportId="2").status_code == 201
    dispatch()
    assert count(app, TrafficRecord) == 2
    assert sum(events_of(message) for message in discord.messages) == 2


def test_repeated_reports_of_a_batch_are_counted_and_cost_no_other(app, story, dispatch, discord):
    story.create_webhook()
    path = f"/http-traffic-records/{story.source_id}/batch"
    send(story, "record", reportId="known")
    batch = [record(reportId=id) for id in ("new", "known", "new", "other")] + [record(), record(status="odd")]
    answer = story.client.post(path, batch)
    assert answer.status_code == 201
    assert [answer.json[name] for name in ("accepted", "repeated")] == [3, 2]
    assert [rejected["index"] for rejected in answer.json["rejected"]] == [5]
    assert story.client.post(path, batch[:4]).json == {"accepted": 0, "repeated": 4, "rejected": []}
    dispatch()
    assert count(app, TrafficRecord) == 4
    assert sum(events_of(message) for message in discord.messages) == 4


def test_the_same_id_for_another_source_is_another_report(ana, story):
    other = Story(ana, domain="other.example.com")
    assert [send(each, "record", reportId="1").status_code for each in (story, other)] == [201, 201]


def test_of_equal_reports_at_once_one_is_stored_and_told(app, story, dispatch, discord):
    story.create_webhook()
    path = f"/http-traffic-records/{story.source_id}"
    singles = [partial(story.client.post, path, record(reportId="1"))] * 6
    batches = [partial(story.client.post, f"{path}/batch", [record(reportId=id) for id in "12345"])] * 6
    answers = at_once(*singles, *batches)
    assert set(codes(answers)) <= {200, 201}
    dispatch()
    assert count(app, TrafficRecord) == 5
    assert sum(events_of(message) for message in discord.messages) == 5


def test_batches_of_equal_ids_in_any_order_at_once_are_all_answered(app, story):
    ids = [str(number) for number in range(300)]
    batches = [[record(reportId=id) for id in order] for order in (ids, ids[::-1]) * 3]
    path = f"/http-traffic-records/{story.source_id}/batch"
    answers = at_once(*[partial(story.client.post, path, batch) for batch in batches])
    assert codes(answers) == [201] * 6
    assert sum(answer.json["accepted"] for answer in answers) == count(app, TrafficRecord) == 300


def test_a_connection_that_breaks_while_a_batch_is_stored_is_one_error_and_no_more(app, story, monkeypatch):
    with app.app_context():
        if not db.is_postgresql:
            pytest.skip("A file has no connection that breaks.")
    write_row = psycopg.Copy.write_row

    def breaking(copy, row):
        with psycopg.connect(copy.connection.info.dsn, password=copy.connection.info.password) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [copy.connection.info.backend_pid])
        write_row(copy, row)

    path = f"/http-traffic-records/{story.source_id}/batch"
    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Copy, "write_row", breaking)
        refused(story.client.post(path, [record()]), 500)
    assert story.client.post(path, [record()]).json["accepted"] == 1


def test_lists_that_take_long_leave_connections_to_reports(story):
    with ExitStack() as held, ThreadPoolExecutor(1) as pool:
        while list_room.acquire(blocking=False):
            held.callback(list_room.release)
        listed = pool.submit(story.client.get, f"/http-traffics/{story.source_id}")
        assert send(story, "record").status_code == 201
        assert not listed.done()
        held.close()
        assert listed.result().status_code == 200


def test_no_list_holds_a_connection_while_it_waits_for_room(story, ana, monkeypatch):
    """Those in the room could else wait for connections that those before it hold."""
    webhook_id = story.create_webhook()
    story.report()
    domain_id = ana.get(f"/domains/{story.source_id}").json["data"][0]["id"]
    held = []

    class Watched:
        def __enter__(self):
            held.append(db.session().in_transaction())

        def __exit__(self, *_):
            pass

    for module in (base, traffic):
        monkeypatch.setattr(module, "list_room", Watched())
    paths = [
        "/traffic-sources",
        f"/traffic-sources/{story.source_id}/ingest-tokens",
        f"/webhooks/{webhook_id}/deliveries",
        f"/http-traffics/{story.source_id}",
        f"/domains/{story.source_id}",
        f"/pathnames/{story.source_id}/{domain_id}",
    ]
    assert codes([ana.get(path) for path in paths]) == [200] * 6
    assert held == [False] * 6


@pytest.mark.parametrize("report_id", ["", "x" * 65, "a\0b", "a\nb", 7, ["1"]])
def test_a_report_id_is_a_short_text(story, report_id):
    assert wrong_fields(send(story, "record", reportId=report_id)) == {"reportId"}


@pytest.mark.parametrize(
    "ago", [timedelta(0), timedelta(milliseconds=1), timedelta(hours=1), timedelta(hours=23, minutes=59)]
)
@pytest.mark.parametrize("form", ["ISO 8601", "milliseconds"])
def test_when_it_happened_is_the_records_time_and_told(story, dispatch, discord, ago, form):
    story.create_webhook()
    moment = datetime.now(UTC) - ago
    milliseconds = int(moment.timestamp() * 1000)
    stored = send(story, "record", occurredAt=moment.isoformat() if form == "ISO 8601" else milliseconds)
    shown = datetime.fromisoformat(stored.json["createdAt"])
    assert int(shown.timestamp() * 1000) == milliseconds
    dispatch()
    assert datetime.fromisoformat(discord.messages[0].body["embeds"][0]["timestamp"]) == shown


@pytest.mark.parametrize("occurred_at", [-1e300, 0, 1e300, 4e12, "2000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", None])
def test_of_what_happened_long_ago_or_is_yet_to_come_the_time_of_arrival_is_kept(story, occurred_at):
    before = datetime.now(UTC) - timedelta(seconds=1)
    stored = send(story, "record", occurredAt=occurred_at)
    assert before <= datetime.fromisoformat(stored.json["createdAt"]) <= datetime.now(UTC)


@pytest.mark.parametrize("occurred_at", ["", "yesterday", True, {}, "2025-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_refused(story, occurred_at):
    assert wrong_fields(send(story, "record", occurredAt=occurred_at)) == {"occurredAt"}


def test_what_happened_earlier_is_listed_further_down(story):
    now = datetime.now(UTC)
    for minutes in (5, 1, 9):
        send(story, "record", status=200 + minutes, occurredAt=(now - timedelta(minutes=minutes)).isoformat())
    listed = story.client.get(f"/http-traffics/{story.source_id}").json["data"]
    assert [each["status"] for each in listed] == [201, 205, 209]


def events_of(message):
    counted = re.search(r"\*\*([\d,]+) ", message.body.get("content", ""))
    return int(counted[1].replace(",", "")) if counted else 1


@pytest.fixture
def removals(app, monkeypatch):
    """The next so many attempts at storing a report fail, as if its path were removed meanwhile. PostgreSQL only."""
    with app.app_context():
        if not db.is_postgresql:
            pytest.skip("On SQLite, who stores a report is the only one to write.")
    run = Statement.run

    def fail(count):
        left = iter(range(count))

        def failing(statement, values):
            if "new_pathname_id" in values and next(left, None) is not None:
                raise psycopg.errors.ForeignKeyViolation
            return run(statement, values)

        monkeypatch.setattr(Statement, "run", failing)

    return fail


def test_a_report_survives_that_its_path_is_removed_meanwhile(removals, story):
    removals(reports.TRIES - 1)
    assert send(story, "record").status_code == 201


def test_a_report_whose_path_is_removed_over_and_over_is_refused_for_now(app, removals, story):
    removals(reports.TRIES)
    refused(send(story, "record"), 503)
    assert count(app, TrafficRecord) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {SECRET}"},
        {"AUTHORIZATION": SECRET, "accept": "*/*"},
        {"Proxy-Authorization": f"Basic {SECRET}"},
        {"cookie": f"session={SECRET}"},
        {"set-cookie": [f"a={SECRET}; HttpOnly", f"b={SECRET}"]},
        {"x-api-key": SECRET},
        {"X_API_KEY": SECRET},
        {"x-auth-token": SECRET},
        {"x-csrf-token": SECRET},
        {"Authorization": {"scheme": "Bearer", "value": SECRET}},
        {"forwarded": {"headers": {"cookie": SECRET}}},
        [["authorization", SECRET], ["accept", "*/*"]],
        [["set-cookie", SECRET, SECRET]],
        ["accept", "*/*", "authorization", SECRET],
        [{"name": "Authorization", "value": SECRET}],
        [{"key": "cookie", "value": SECRET}],
        {"headers": [{"name": "x-api-key", "value": SECRET}]},
    ],
)
def test_no_secret_of_a_header_is_kept_or_shown(app, story, headers):
    """A form that nobody understands may be refused, but not kept."""
    story.create_webhook()
    names = ("requestHeaders", "responseHeaders", "queryParams", "requestBody", "responseBody")
    for value in (headers, json.dumps(headers)):
        answer = send(story, "record", **dict.fromkeys(names, value))
        assert answer.status_code in (201, 400)
        assert SECRET not in all_rows(app)
        if answer.status_code == 201:
            whole = story.client.get(f"/http-traffic-records/record/{answer.json['id']}")
            assert SECRET not in whole.text
            assert "[redacted]" in whole.json["request"]["headers"]


def test_what_is_no_secret_is_kept(story):
    whole = shown(story, requestHeaders={"Authorization": SECRET, "accept": "text/html", "user-agent": "curl"})
    assert json.loads(whole["request"]["headers"]) == {
        "Authorization": "[redacted]",
        "accept": "text/html",
        "user-agent": "curl",
    }


@pytest.mark.parametrize(
    ("body", "length"),
    [("x" * 4096, 4096), ("x" * 4097, 4096), ("é" * 3000, 2048), ({"a": "x" * 5000}, 4096), ("\x00" * 4096, 1365)],
)
def test_of_a_body_a_preview_of_4_kib_is_kept(app, story, body, length):
    story.report(requestBody=body, responseBody=body)
    with app.app_context():
        row = db.session.execute(select(TrafficRecord.request_body, TrafficRecord.response_body)).one()
    assert [len(text) for text in row] == [length] * 2
    assert all(len(text.encode()) <= 4096 for text in row)


@pytest.mark.parametrize(("limit", "kept"), [("0", ""), ("3", '"abc"'), ("100", '"abcdef"')])
def test_the_preview_is_as_long_as_it_is_set(make_app, story, limit, kept):
    limited = seen_by(Client(make_app(BODY_PREVIEW_BYTES=limit), story.client.token), story)
    assert shown(limited, requestBody="abcdef")["request"]["bodyPreview"] == kept


@pytest.mark.parametrize(
    ("domain", "path"),
    [
        ("https://api.payments.com", f"/reset?token={SECRET}"),
        ("https://api.payments.com", f"/reset#{SECRET}"),
        ("https://api.payments.com", f"//user@evil.example?{SECRET}"),
        ("https://api.payments.com", f"/[?{SECRET}"),
        (f"https://user:{SECRET}@api.payments.com", "/"),
        (f"https://{SECRET}@api.payments.com", "/"),
        (f"https://user:p@{SECRET}@api.payments.com", "/"),
        (f"https://api.payments.com/{SECRET}?{SECRET}#{SECRET}", "/"),
    ],
)
def test_no_query_or_credentials_of_an_address_are_kept_shown_or_sent(app, story, dispatch, discord, domain, path):
    story.create_webhook()
    whole = shown(story, domainUrl=domain, pathnameUrl=path)
    assert whole["domain"] == "https://api.payments.com"
    assert SECRET not in json.dumps(whole) + all_rows(app)
    dispatch()
    assert len(discord.messages) == 1
    assert SECRET not in str(discord.messages)


@pytest.mark.parametrize("path", ["/" + "a" * 50_000, "/" + "é" * 10_000, "/a" * 5_000])
def test_a_long_path_is_cut_and_its_record_kept(story, dispatch, discord, path):
    story.create_webhook()
    whole = shown(story, pathnameUrl=path)
    assert path.startswith(whole["pathname"])
    assert 1000 <= len(whole["pathname"]) <= 2000
    story.report(pathnameUrl=path)
    (domain,) = domains(story)
    assert len(pathnames(story, domain["id"])) == 1
    dispatch()
    assert len(discord.messages) == 1


@pytest.mark.parametrize("domain", [f"https://{'İ' * 250}", f"https://{'ß' * 250}", f"https://{'😀' * 250}"])
def test_a_host_that_grows_in_lower_case_is_no_error_of_the_server(story, domain):
    assert send(story, "record", domainUrl=domain).status_code in (201, 400)


def test_an_odd_path_is_kept_as_it_is(story, dispatch, discord):
    story.create_webhook()
    paths = ["/", "//", "/a//b", "/ü/😀", "/%00%0A", "/a;b=c", "/'\"--", "/[", "/{token}", "/a b", "/\\", "/:80", "/@x"]
    assert [shown(story, pathnameUrl=path)["pathname"] for path in paths] == paths
    dispatch()
    assert len(discord.messages) == 1


def compressed(story, body, path="", **options):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"} | options.pop("headers", {})
    return story.client.request("POST", path_of(story) + path, data=gzip.compress(body), headers=headers, **options)


def test_a_compressed_report_and_batch_are_taken(story):
    assert compressed(story, json.dumps(record()).encode()).status_code == 201
    answer = compressed(story, json.dumps([record(), record()]).encode(), "/batch")
    assert (answer.status_code, answer.json["accepted"]) == (201, 2)


def test_what_unpacks_to_more_than_a_report_may_have_is_refused(app, story):
    refused(compressed(story, b" " * 9_000_000), 413)
    refused(compressed(story, b" " * 17_000_000, "/batch"), 413)
    assert count(app, TrafficRecord) == 0


@pytest.mark.parametrize(
    "body", [b"{}", gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(b"{}", mtime=0) + b"x", b"\x1f\x8b"]
)
def test_a_body_that_is_not_gzip_as_it_says_is_refused(story, body):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    refused(story.client.request("POST", path_of(story), data=body, headers=headers), 400)


def test_another_compression_is_refused(story):
    refused(compressed(story, b"{}", headers={"Content-Encoding": "br"}), 415)
