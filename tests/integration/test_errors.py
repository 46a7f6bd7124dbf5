"""One envelope for every error, and no answer that is an error of the server, whatever is sent."""

import json
import logging
import re

import pytest
from flask import Flask
from sqlalchemy import text

from app.extensions import db
from tests.integration.helpers import api_rules, is_id, refused, wrong_fields
from tests.support import in_days
from tools.story import PASSWORD, UNKNOWN_ID, record, webhook

JSON = "application/json"
DEEP = 14_000
SECRET = "canary-detail"
# What each route with a body takes; {source}, {webhook} and {share} are Ana's.
ALERT = {"kind": "silence", "minutes": 5, "webhookLevel": "fatal"}
BODIES = {
    ("POST", "/user"): {"name": "Eva", "email": "eva@example.com", "password": PASSWORD},
    ("POST", "/user/auth"): {"email": "ana@example.com", "password": PASSWORD},
    ("PUT", "/user"): {"name": "Ana", "email": "a@example.com", "utc": 1, "currentPassword": PASSWORD},
    ("POST", "/traffic-sources"): {"name": "New", "trafficDomain": "new.example.com"},
    ("PUT", "/traffic-sources/{source}"): {"name": "New", "trafficDomain": "new.example.com"},
    ("POST", "/traffic-sources/{source}/ingest-tokens"): {"name": "CI"},
    ("POST", "/webhooks/{source}"): webhook(level="info"),
    ("PUT", "/webhooks/{webhook}"): webhook(level="info"),
    ("POST", "/webhooks/{webhook}/mute"): {"until": in_days(30)},
    ("PUT", "/webhooks/{webhook}/policy"): {"remindAfterSeconds": 60},
    ("POST", "/traffic-sources/{source}/alerts"): ALERT,
    ("PUT", "/shared-traffic-sources/{share}"): {"permission": "editor"},
    ("POST", "/http-traffic-records/{source}"): record(requestBody={}, responseBody="", trafficUserId="u-1"),
    ("POST", "/ingest-log"): record(trafficSourceId="{source}"),
}
# Fields whose text may be anything: it is kept as a preview, or never kept.
FREE_TEXT = {
    "password",
    "currentPassword",
    "requestBody",
    "responseBody",
    "trafficSourceId",
    "pathnameUrl",
    "trafficUserId",
}
IGNORES_UNKNOWN = {"/http-traffic-records/{source}", "/ingest-log"}
# Bodies that are too large, and the limit that the refusal names, where it is not that of most routes.
OF_REPORTS, OF_STRANGERS = (9_000_000, "8,388,608"), (200_000, "131,072")
SIZES = {
    ("POST", "/user"): OF_STRANGERS,
    ("POST", "/user/auth"): OF_STRANGERS,
    **{("POST", path): OF_REPORTS for path in IGNORES_UNKNOWN},
}
NOT_JSON = {
    "no json": b"type=discord",
    "cut off": b'{"type": "discord"',
    "trailing comma": b'{"type": "discord",}',
    "single quotes": b"{'type': 'discord'}",
    "comment": b'{"type": "discord"} // x',
    "NaN": b'{"type": NaN}',
    "Infinity": b'{"type": -Infinity}',
    "huge exponent": b'{"type": 1e999}',
    "invalid UTF-8": b'{"type": "\xff\xfe"}',
    "UTF-16": '{"type": "discord"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "lone surrogate": rb'{"type": "\ud800"}',
    "NUL byte": b'{"type": "\x00"}',
    "brackets": b"[" * DEEP,
    "nested arrays": b"[" * DEEP + b"]" * DEEP,
    "nested objects": b'{"type":' * DEEP + b"1" + b"}" * DEEP,
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "spaces": b"   ",
}
NO_OBJECT = {
    "array": b"[]",
    "array of objects": b"[{}]",
    "null": b"null",
    "text": b'"discord"',
    "number": b"1",
    "huge number": b"9" * 5000,
    "true": b"true",
}
HOSTILE_VALUES = [
    "",
    "\x00",
    "a\x00b",
    "' OR 1=1 --",
    "{token}",
    "{0.__class__}",
    "İ" * 250,
    "\u202e\ufeff\ufffe\U0010ffff",
    "x" * 100_000,
    "[" * DEEP,
    "0" * 5000,
    "9999-12-31T23:59:59.999999-14:00",
    "9999-12-31T23:59:59.999999Z",
    "https://" + "[" * 50,
    "https://é:１２@x",
    0,
    1.5,
    True,
    None,
    2**63 - 1,
    -(2**63),
    1.7e308,
    [],
    {"a": {"b": ["c"]}},
    {"": ""},
    ["x"] * 10_000,
]
HOSTILE_IDS = [
    "'",
    "%22",
    "%25",
    "%00",
    "%0d%0aX-Evil:%201",
    "%ff%fe",
    "%F0%9F%92%A9",
    "0",
    "9" * 3000,
    "01980000-0000-7000-8000-00000000000G",
    "00000000-0000-0000-0000-000000000000",
    "01980000000070008000000000000000",
    "０1980000-0000-7000-8000-000000000000",
]
HOSTILE_QUERIES = [
    "page=%00&pageLimit=%00&name=%00&level=%00&status=%00&domainId=%00&startDate=%00&state=%00&sort=%00",
    "page=" + "9" * 5000,
    "pageLimit=" + "9" * 20 + "&page=" + "9" * 18,
    "page=-1&pageLimit=-1&status=-1",
    "page=1.5&pageLimit=1e3",
    "page=NaN&status=Infinity",
    "page[]=1&page=1&page=2",
    "name=%ff&method=%ff&domainId=%ff&sort=%ff",
    "name=" + "%25" * 5000,
    "name=%5C&domainId='&pathnameId=%22&startDate='&endDate=%22",
    "startDate=0001-01-01T00:00:00%2B23:59&endDate=9999-12-31T23:59:59.999999-23:59",
    "startDate=-1&endDate=" + "9" * 400,
    "&&&=&=x&%",
]


@pytest.fixture
def ids(story, bob) -> dict[str, str]:
    invitation = {"trafficSourceId": story.source_id, "userEmail": "bob@example.com"}
    shared = story.client.post("/shared-traffic-sources", invitation)
    return {"source": story.source_id, "webhook": story.create_webhook(), "share": shared.json["id"]}


def with_ids(body, ids):
    return {name: ids["source"] if value == "{source}" else value for name, value in body.items()}


def routes(app: Flask):
    """Every method and path there is; the one that ends the token comes last."""
    for rule in sorted(api_rules(app), key=lambda rule: rule.rule == "/user/logout"):
        for method in sorted(rule.methods - {"OPTIONS", "HEAD"}):
            yield method, rule.rule


def at(path: str, id: str = UNKNOWN_ID) -> str:
    """A route's path with ``id`` for whatever varies in it."""
    return re.sub(r"[<{][^>}]+[>}]", lambda _: id, path)


def no_server_error(answer, told):
    """An answer that is the service's own, and not its failure."""
    assert answer.status_code < 500, f"{told}: {answer.text}"
    assert answer.headers["X-Request-Id"], told
    if answer.status_code >= 400:
        refused(answer, answer.status_code)
    return answer.status_code


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path_is_not_found(ana, method):
    for path in ("/nothing", "/webhooks", "/webhooks/", "/user/", "/user//", "/%00", "/é"):
        assert "errors" not in refused(ana.request(method, path), 404), path


def test_an_unknown_file_of_the_documentation_is_not_found(client):
    for file in ("none.js", "%00", "..%2f..%2fwsgi.py", "../../wsgi.py", "x" * 5000):
        refused(client.get(f"/docs/{file}"), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", f"/webhooks/{UNKNOWN_ID}", {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}),
        ("PATCH", "/user", {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}),
        ("GET", "/user/auth", {"POST", "OPTIONS"}),
        ("PUT", "/ingest-log", {"POST", "OPTIONS"}),
        ("GET", f"/http-traffic-records/{UNKNOWN_ID}/batch", {"POST", "OPTIONS"}),
        ("PUT", f"/http-traffic-records/record/{UNKNOWN_ID}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/user", {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}),
        ("FOO", "/user", {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_told_with_those_that_are_allowed(client, method, path, allowed):
    answer = client.request(method, path)
    assert method in refused(answer, 405)["message"]
    assert set(answer.headers["Allow"].split(", ")) == allowed


def send(client, route, ids, body, content_type=JSON):
    method, path = route
    return client.request(method, path.format(**ids), data=body, content_type=content_type)


@pytest.mark.parametrize("bodies", [NOT_JSON, NO_OBJECT], ids=["no JSON", "no object"])
def test_a_body_that_is_no_json_object_is_a_bad_request(ana, ids, bodies):
    for told, body in bodies.items():
        for route in BODIES:
            assert refused(send(ana, route, ids, body), 400), told


def test_a_batch_that_is_no_json_is_a_bad_request(ana, ids):
    for told, body in NOT_JSON.items():
        assert refused(send(ana, ("POST", "/http-traffic-records/{source}/batch"), ids, body), 400), told


OTHER_TYPES = [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"]


def test_a_body_of_another_type_is_a_bad_request(ana, ids):
    for route, body in BODIES.items():
        for content_type in OTHER_TYPES:
            answer = send(ana, route, ids, json.dumps(with_ids(body, ids)), content_type)
            assert "application/json" in refused(answer, 400)["message"], f"{route} {content_type}"


def test_json_is_known_by_its_type_in_every_spelling(ana, ids):
    for route, body in BODIES.items():
        for content_type in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"):
            answer = send(ana, route, ids, json.dumps(with_ids(body, ids)), content_type)
            assert answer.status_code in (200, 201, 409), f"{route}: {answer.text}"


def test_an_empty_body_is_a_bad_request_where_one_is_wanted(ana, ids):
    codes = {route: [send(ana, route, ids, b"", kind).status_code for kind in (JSON, None)] for route in BODIES}
    assert codes.pop(("POST", "/traffic-sources/{source}/ingest-tokens")) == [201, 201]
    assert {route: found for route, found in codes.items() if found != [400, 400]} == {}


def test_a_body_of_3_mb_is_too_large_and_of_9_mb_for_a_report(ana, ids):
    for route in BODIES:
        size, limit = SIZES.get(
            route, (9_000_000, "8,388,608") if route[1] in IGNORES_UNKNOWN else (3_000_000, "2,097,152")
        )
        assert f"{limit} bytes" in refused(send(ana, route, ids, b'"%s"' % (b"x" * size)), 413)["message"]


def test_a_batch_may_be_larger_and_still_has_its_limit(ana, ids):
    route = ("POST", "/http-traffic-records/{source}/batch")
    batch = json.dumps([record(requestBody="x" * 1_000_000)] * 3)
    assert send(ana, route, ids, batch).status_code == 201
    assert "16,777,216 bytes" in refused(send(ana, route, ids, b" " * 17_000_000), 413)["message"]


def test_the_token_is_looked_at_before_a_body_that_is_too_large(client, ids):
    refused(send(client, ("POST", "/ingest-log"), ids, b"x" * 9_000_000), 400)


def test_an_unknown_field_is_refused_but_in_a_record(ana, ids):
    for route, body in BODIES.items():
        answer = send(ana, route, ids, json.dumps(with_ids(body, ids) | {"unknown": 1}))
        if route[1] in IGNORES_UNKNOWN:
            assert answer.status_code == 201
        else:
            assert wrong_fields(answer) == {"unknown"}


def test_a_nul_in_any_text_is_refused_or_never_kept(ana, ids):
    kept = []
    for route, body in BODIES.items():
        good = with_ids(body, ids)
        for field in [name for name, value in good.items() if isinstance(value, str)]:
            answer = send(ana, route, ids, json.dumps(good | {field: f"{good[field]}\x00"}))
            no_server_error(answer, field)
            if field not in FREE_TEXT and (answer.status_code != 400 or wrong_fields(answer) != {field}):
                kept.append((*route, field))
    assert kept == []


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_no_value_of_any_field_is_an_error_of_the_server(ana, ids, route):
    good = with_ids(BODIES[route], ids)
    seen = set()
    for field in ["trafficSourceId"] if route[1] == "/ingest-log" else good:
        for value in HOSTILE_VALUES:
            answer = send(ana, route, ids, json.dumps(good | {field: value}))
            seen.add(no_server_error(answer, f"{field}={str(value)[:40]!r}"))
    assert 400 in seen


def test_a_body_that_nobody_asked_for_is_no_error_of_the_server(app, ana):
    for method, path in routes(app):
        for body in ("nested arrays", "invalid UTF-8"):
            answer = ana.request(method, at(path), data=NOT_JSON[body], content_type=JSON)
            if path != "/readyz":
                no_server_error(answer, f"{method} {path} {body}")


def test_an_id_that_cannot_be_is_not_found_on_any_route(app, ana):
    bodies = {(method, at(path)): body for (method, path), body in BODIES.items()}
    for method, path in routes(app):
        body = [record()] if path.endswith("/batch") else bodies.get((method, at(path)), ALERT)
        for id in HOSTILE_IDS if "<id:" in path else ():
            refused(ana.request(method, at(path, id), json=body), 404)


def test_an_id_in_upper_case_is_another_id(ana, ids):
    for path in ("/traffic-sources/{source}", "/webhooks/{source}", "/http-traffics/{source}", "/domains/{source}"):
        assert ana.get(path.format(**ids)).status_code == 200
        refused(ana.get(path.format(source=ids["source"].upper())), 404)


def lists(ids):
    return [
        "/traffic-sources",
        f"/traffic-sources/{ids['source']}/ingest-tokens",
        f"/webhooks/{ids['webhook']}/deliveries",
        f"/http-traffics/{ids['source']}",
        f"/domains/{ids['source']}",
    ]


def test_no_query_is_an_error_of_the_server(ana, ids):
    for path in lists(ids):
        for query in HOSTILE_QUERIES:
            no_server_error(ana.get(f"{path}?{query}"), f"{path}?{query[:40]}")


@pytest.mark.parametrize("field", ["page", "pageLimit"])
def test_a_page_out_of_range_is_refused(ana, ids, field):
    for path in lists(ids):
        for value in ("0", "-1", "1.5", "x", "1e3", "true", "0x10", "9" * 30, "9" * 5000, "%00"):
            assert wrong_fields(ana.get(f"{path}?{field}={value}"), "query") == {field}, value


def test_a_page_limit_goes_to_100_and_a_page_past_the_end_is_empty(ana, ids):
    for path in lists(ids):
        assert ana.get(f"{path}?pageLimit=100").json["meta"]["pageLimit"] == 100
        assert wrong_fields(ana.get(f"{path}?pageLimit=101"), "query") == {"pageLimit"}
        assert ana.get(f"{path}?page=100000&pageLimit=100").json["data"] == []


HEADERS = [
    {"Host": "a b"},
    {"Host": "é"},
    {"Host": "[::1"},
    {"Host": "x" * 300},
    {"Host": ""},
    {"Content-Length": "abc"},
    {"Content-Length": "-1"},
    {"Content-Encoding": "gzip"},
    {"Accept": "\xff"},
    {"Accept": "text/html;q=x"},
    {"Cookie": "=\x00;" * 10},
    {"X-Forwarded-For": "' OR 1=1"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Range": "bytes=5-1"},
    {"If-None-Match": '"'},
    {"If-Modified-Since": "never"},
]


def test_no_header_is_an_error_of_the_server(ana, ids):
    for method, path in [("GET", "/healthz"), ("GET", "/user"), ("POST", f"/webhooks/{ids['source']}"), ("GET", "/x")]:
        for headers in HEADERS:
            no_server_error(ana.request(method, path, headers=headers), f"{method} {path} {headers}")


def test_every_answer_carries_a_request_id(app, ana):
    answers = [ana.request(method, at(path)) for method, path in routes(app)]
    answers += [ana.get("/nothing"), ana.request("PATCH", "/user"), ana.request("OPTIONS", "/user")]
    assert all(is_id(answer.headers["X-Request-Id"]) for answer in answers)
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)


def test_a_well_formed_request_id_is_echoed(client):
    for id in ("a", "01980000-0000-7000-8000-000000000000", "trace.ID_1-2", "x" * 64):
        for path in ("/healthz", "/nothing", "/user"):
            assert client.get(path, headers={"X-Request-Id": id}).headers["X-Request-Id"] == id


def test_any_other_request_id_is_replaced(client):
    for id in ("", " ", "x" * 65, "a b", "a/b", "é", "a,b", "<script>", "a%0a"):
        assert is_id(client.get("/healthz", headers={"X-Request-Id": id}).headers["X-Request-Id"]), id


FAILING = [
    ("GET", "/user", "app.repositories.access.find"),
    ("POST", "/user/auth", "app.repositories.users.get_by_email"),
    ("POST", "/traffic-sources", "app.repositories.traffic_sources.save"),
    ("POST", "/webhooks/{source}", "app.repositories.webhooks.add_and_commit"),
    ("GET", "/webhooks/{source}", "app.repositories.webhooks.list_of"),
    ("POST", "/http-traffic-records/{source}", "app.repositories.reports.store_one_and_commit"),
    ("GET", "/http-traffics/{source}", "app.repositories.traffic.list_of"),
]


@pytest.mark.parametrize(("method", "path", "function"), FAILING)
def test_an_unexpected_error_tells_nothing_of_itself_or_of_the_request(
    ana, ids, monkeypatch, caplog, method, path, function
):
    def fail(*args, **kwargs):
        raise RuntimeError(SECRET)

    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(function, fail)
    answer = ana.request(method, path.format(**ids), json=with_ids(BODIES.get((method, path), {}), ids) or None)
    assert set(refused(answer, 500)) == {"code", "status", "message"}
    assert "RuntimeError" in caplog.text
    assert answer.headers["X-Request-Id"] in caplog.text
    for secret in (SECRET, PASSWORD, ana.token):
        assert secret not in answer.text
        assert secret not in caplog.text


def test_an_error_of_the_database_driver_tells_nothing_of_what_was_sent(ana, ids, monkeypatch, caplog):
    def fail(*_):
        db.session.execute(text("SELECT :value FROM none").bindparams(value=SECRET))

    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("app.repositories.reports.store_one_and_commit", fail)
    answer = ana.post(f"/http-traffic-records/{ids['source']}", record(requestBody=PASSWORD))
    body = str(refused(answer, 500))
    assert not re.search("SELECT|none|sqlite|psycopg", body)
    for secret in (SECRET, PASSWORD):
        assert secret not in body + caplog.text


def test_after_an_error_the_next_request_is_answered(ana, ids, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("app.repositories.webhooks.list_of", lambda *_: 1 / 0)
        refused(ana.get(f"/webhooks/{ids['source']}"), 500)
    assert ana.get(f"/webhooks/{ids['source']}").status_code == 200


def test_the_log_holds_no_token_body_query_or_raw_path(ana, story, caplog):
    caplog.set_level(logging.DEBUG)
    ana.get(f"/traffic-sources?name={SECRET}")
    ana.get(f"/nothing/{SECRET}?{SECRET}")
    ana.post(f"/webhooks/{story.source_id}", webhook(value=f"https://discord.com/api/webhooks/1/{SECRET}"))
    ana.post(f"/http-traffic-records/{story.source_id}", record(requestBody=SECRET))
    assert "POST /webhooks/<id:traffic_source_id> 201" in caplog.text
    for secret in (SECRET, ana.token):
        assert secret not in caplog.text
