import json
import math
from datetime import datetime, timezone

import pytest

from arkyn_reporter.redaction import Redactor
from arkyn_reporter.report import Report, Unusable, encode, size_of, to_seconds, usable_host, usable_method

REPORT = Report(200, "GET", "https", "api.example.com", "/a", "b=c", 1.5, 1753108200.5)


def encoded(**changes):
    return json.loads(encode(REPORT._replace(**changes), Redactor()))


def test_a_record_is_what_the_service_expects():
    record = encoded(request_headers=[("Accept", "x")], user_id="u1")
    assert len(record.pop("reportId")) == 36
    assert record == {
        "occurredAt": 1753108200500,
        "domainUrl": "https://api.example.com",
        "pathnameUrl": "/a",
        "protocol": "https",
        "status": 200,
        "method": "GET",
        "elapsedTime": 1.5,
        "queryParams": {"b": "c"},
        "requestHeaders": {"accept": "x"},
        "responseHeaders": {},
        "trafficUserId": "u1",
    }


def test_an_odd_request_makes_a_usable_record():
    record = encoded(status=7, method="G\r\nT 5", path="\ud800" + "/" * 5000, elapsed_ms=math.nan, query="\udcff=\x00")
    assert (record["status"], record["method"], record["elapsedTime"]) == (500, "GT", 0)
    assert len(record["pathnameUrl"]) == 2000
    assert record["pathnameUrl"].startswith("?/")


def test_a_fixed_domain_replaces_the_host():
    record = json.loads(encode(REPORT, Redactor(), "http://shop.example.com"))
    assert (record["domainUrl"], record["protocol"]) == ("http://shop.example.com", "http")


@pytest.mark.parametrize("body", [object(), {"a": object()}, "x" * 2_000_000, {"a": math.inf}])
def test_what_no_record_can_be_made_of_is_unusable(body):
    with pytest.raises(Unusable):
        encode(REPORT._replace(request_body=body), Redactor())


@pytest.mark.parametrize("host", ["a.example.com", "a:80", "127.0.0.1:8000", "[::1]:8000", "[::1]", "a_b"])
def test_hosts_are_taken(host):
    assert usable_host(host) == host


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "a:0", "a:99999", "a:b", "höst", "a\r\nb", "x" * 300, "::1"])
def test_what_is_no_host_is_replaced(host):
    assert usable_host(host, "None:None", "[fe80::1]") == "[fe80::1]"
    assert usable_host(host) == "localhost"


def test_methods_are_words():
    assert [usable_method(method) for method in ("get", "M-SEARCH", "", "\x16\x03", "a" * 50)] == [
        "get",
        "M-SEARCH",
        "unknown",
        "unknown",
        "a" * 20,
    ]


def test_moments_are_utc_unless_they_say_otherwise():
    assert to_seconds(datetime(2025, 7, 21, 14, 30)) == 1753108200
    assert to_seconds(datetime(2025, 7, 21, 14, 30, tzinfo=timezone.utc)) == 1753108200
    assert to_seconds(1753108200) == 1753108200


def test_the_size_counts_everything_that_a_report_holds():
    large = REPORT._replace(request_headers=[("a", "b" * 1000)], request_body=b"c" * 1000, response_body="d" * 1000)
    assert size_of(large) > size_of(REPORT) + 3000
