"""OTLP traces, read as reports."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from app.api.schema import camel_case
from app.api.traffic.schemas import NewTrafficRecordSchema
from app.models.columns import utcnow
from app.otlp import json, protobuf
from app.otlp.reports import Traces, read
from app.otlp.spans import MAX_ATTRIBUTES, TooManyFields, Unreadable
from tests.spans import (
    ERROR,
    OLDER,
    SECOND,
    SPAN_ID,
    STABLE,
    TRACE_ID,
    as_json,
    as_message,
    as_protobuf,
    span,
)
from tests.support import examples, without

ENCODINGS = {"protobuf": (protobuf, as_protobuf), "json": (json, as_json)}
in_both = pytest.mark.parametrize("encoding", ENCODINGS)


def traces_of(encoding: str, *spans: dict[str, Any], **options: Any) -> Traces:
    module, written = ENCODINGS[encoding]
    return read(written(*spans, **options), module)


def report_of(encoding: str, attributes: dict[str, Any], *, service_name: str = "shop", **fields: Any) -> Any:
    (report,) = traces_of(encoding, span(attributes, **fields), service_name=service_name).reports
    return report


@in_both
@pytest.mark.parametrize("attributes", [STABLE, OLDER], ids=["stable", "older"])
def test_a_span_of_a_server_becomes_a_report(encoding, attributes):
    report = report_of(encoding, attributes)
    assert utcnow() - report.pop("occurred_at") < timedelta(seconds=65)
    assert report.pop("domain_url").removesuffix(":443") == "https://api.payments.com"
    assert report == {
        "pathname_url": "/orders/123",
        "status": 503,
        "protocol": "https",
        "method": "post",
        "traffic_user_id": None,
        "elapsed_time": 12.5,
        "request_headers": {"user-agent": "curl/8"},
        "request_body": None,
        "query_params": {"page": "1", "tag": ["a", "b"]},
        "response_headers": {},
        "response_body": None,
        "report_id": f"{TRACE_ID}-{SPAN_ID}",
    }


@in_both
@pytest.mark.parametrize(
    ("attributes", "url"),
    [
        ({"server.address": "a.example", "server.port": 8080, "http.host": "b.example"}, "http://a.example:8080"),
        ({"server.address": "::1", "server.port": 8080}, "http://[::1]:8080"),
        ({"server.address": "[::1]"}, "http://[::1]"),
        ({"server.address": "[::1]:8080", "server.port": 80}, "http://[::1]:8080"),
        ({"server.address": "a.example:8080", "server.port": 80}, "http://a.example:8080"),
        ({"server.address": "a.example", "server.port": "8080"}, "http://a.example:8080"),
        ({"server.address": "a.example", "server.port": 0}, "http://a.example"),
        ({"server.address": "a.example", "server.port": 70_000}, "http://a.example"),
        ({"server.address": "a.example", "url.scheme": "WSS"}, "https://a.example"),
        ({"server.address": "a.example", "url.scheme": "gopher"}, "http://a.example"),
        ({"http.host": "a.example:8080"}, "http://a.example:8080"),
        ({"http.host": "a b", "net.host.name": "a.example", "net.host.port": 81}, "http://a.example:81"),
        ({"http.host": "a.example/b", "http.server_name": "c.example"}, "http://c.example"),
        ({"http.host": "a.example:0", "http.server_name": "c.example"}, "http://c.example"),
        ({"http.url": "https://user:secret@a.example:8443/b?c=d"}, "https://a.example:8443"),
        ({"url.full": "https://a.example/b"}, "https://a.example"),
        ({"http.url": "https://[broken/"}, "http://shop"),
        ({"http.host": "x" * 300}, "http://shop"),
        ({}, "http://shop"),
    ],
)
def test_the_host_is_the_first_that_can_be_one(encoding, attributes, url):
    report = report_of(encoding, {"http.method": "GET", "http.status_code": 200, **attributes})
    assert report["domain_url"] == url
    assert report["protocol"] == url.partition(":")[0]


@in_both
@pytest.mark.parametrize(
    ("name", "host"),
    [("my shop: api", "my-shop-api"), ("unknown_service:python", "unknown-service-python"), ("--a--", "a")],
)
def test_the_name_of_the_service_stands_for_a_host_that_is_not_named(encoding, name, host):
    report = report_of(encoding, {"http.method": "GET", "http.status_code": 200}, service_name=name)
    assert report["domain_url"] == f"http://{host}"


@in_both
@pytest.mark.parametrize("name", ["", "日本", "-"])
def test_without_host_and_service_a_span_is_rejected(encoding, name):
    nameless = span({"http.method": "GET", "http.status_code": 200})
    traces = traces_of(encoding, nameless, span(), service_name=name)
    assert (len(traces.reports), traces.rejected) == (1, 1)
    assert traces.message == "a span names neither a host nor a service (1)"


@in_both
@pytest.mark.parametrize(
    ("attributes", "path", "query"),
    [
        ({"url.path": "/a", "http.route": "/:x"}, "/a", {}),
        ({"url.path": "/a", "url.query": "?b=c"}, "/a", {"b": "c"}),
        ({"http.target": "/a?b=c"}, "/a", {"b": "c"}),
        ({"http.url": "http://a.example/a?b=c"}, "/a", {"b": "c"}),
        ({"http.route": "/orders/{id}"}, "/orders/{id}", {}),
        ({"http.route": "orders/<id>"}, "/orders/<id>", {}),
        ({"url.path": "/a\nb\x7f"}, "/a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}", {}),
        ({"url.path": "/a", "url.query": "b"}, "/a", {"b": ""}),
        ({"url.path": ""}, "/", {}),
        ({}, "/", {}),
    ],
)
def test_the_path_is_that_of_the_request_and_the_route_where_none_is_known(encoding, attributes, path, query):
    report = report_of(encoding, {"http.method": "GET", "http.status_code": 200, **attributes})
    assert (report["pathname_url"], report["query_params"]) == (path, query)


def test_a_query_is_read_up_to_a_bound():
    report = report_of("json", STABLE | {"url.query": "&".join(f"name{number}=1" for number in range(1_000))})
    assert len(report["query_params"]) == 100
    assert report_of("json", STABLE | {"url.query": "a=" + "b" * 100_000})["query_params"]["a"] == "b" * 8_190


@in_both
@pytest.mark.parametrize(
    ("attributes", "method"),
    [
        ({"http.request.method": "PURGE"}, "purge"),
        ({"http.request.method": "_OTHER", "http.request.method_original": "Version-Control"}, "version-control"),
        ({"http.request.method": "_OTHER"}, "other"),
        ({"http.request.method": "GET /"}, "other"),
        ({"http.request.method": "x" * 21}, "other"),
    ],
)
def test_a_method_may_be_any_word(encoding, attributes, method):
    assert report_of(encoding, STABLE | attributes)["method"] == method


@in_both
@pytest.mark.parametrize("given", ["200", 200, 200.0])
def test_a_status_may_be_a_number_or_its_digits(encoding, given):
    assert report_of(encoding, STABLE | {"http.response.status_code": given})["status"] == 200


@in_both
@pytest.mark.parametrize("given", [99, 1000, -200, 200.5, float("nan"), float("inf"), "OK", "２００"])
def test_a_status_that_is_none_is_rejected(encoding, given):
    attributes = STABLE | {"http.response.status_code": given}
    if encoding == "json" and isinstance(given, float) and given != 200.5:
        attributes |= {"http.response.status_code": {"doubleValue": "NaN" if given != given else "Infinity"}}
    traces = traces_of(encoding, span(attributes), span())
    assert (len(traces.reports), traces.message) == (1, "the status code of a span is none (1)")


@in_both
def test_a_request_that_failed_without_an_answer_counts_as_500(encoding):
    unanswered = {name: value for name, value in STABLE.items() if name != "http.response.status_code"}
    assert report_of(encoding, unanswered, status={"code": ERROR})["status"] == 500
    assert traces_of(encoding, span(unanswered)).ignored == 1


@in_both
def test_all_that_is_no_request_to_a_server_is_ignored(encoding):
    others = [span(kind=kind) for kind in (0, 1, 3, 4, 5)]
    traces = traces_of(encoding, *others, span({"rpc.system": "grpc"}), span({}), span())
    assert (len(traces.reports), traces.ignored, traces.rejected) == (1, 7, 0)


@in_both
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 0), (0, 5), (5 * SECOND, 0), (10 * SECOND, 5 * SECOND), (1, 2**64 - 1), (1, 40 * 86_400 * SECOND)],
)
def test_absurd_times_are_rejected(encoding, start, end):
    absurd = span(startTimeUnixNano=str(start), endTimeUnixNano=str(end))
    traces = traces_of(encoding, absurd, span())
    assert (len(traces.reports), traces.rejected) == (1, 1)


@in_both
def test_a_clock_that_was_set_back_a_little_costs_no_alarm(encoding):
    assert report_of(encoding, STABLE, startTimeUnixNano=str(SECOND), endTimeUnixNano="1")["elapsed_time"] == 0


@in_both
def test_a_request_occurred_when_its_span_began(encoding):
    start = 1_753_108_200 * SECOND
    report = report_of(encoding, STABLE, startTimeUnixNano=str(start), endTimeUnixNano=str(start))
    assert report["occurred_at"] == datetime(2025, 7, 21, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(("encoding", "latest"), [("protobuf", 2**64 - 1), ("json", 10**20 - 1)])
def test_the_latest_time_of_each_encoding_is_read(encoding, latest):
    report = report_of(encoding, STABLE, startTimeUnixNano=str(latest), endTimeUnixNano=str(latest))
    assert report["occurred_at"] > datetime(2500, 1, 1, tzinfo=UTC)


@in_both
@pytest.mark.parametrize(
    "ids",
    [{"traceId": "00" * 16}, {"traceId": "ab"}, {"traceId": ""}, {"spanId": "00" * 8}, {"spanId": "ab" * 16}],
)
def test_without_valid_ids_a_report_has_none(encoding, ids):
    assert report_of(encoding, STABLE, **ids)["report_id"] is None


def test_ids_of_json_may_have_large_letters():
    assert report_of("json", STABLE, traceId=TRACE_ID.upper())["report_id"] == f"{TRACE_ID}-{SPAN_ID}"


@in_both
def test_a_user_is_taken_where_one_is_named(encoding):
    assert report_of(encoding, STABLE | {"enduser.id": "ana"})["traffic_user_id"] == "ana"
    long = report_of(encoding, STABLE | {"user.id": "x\n" * 500})["traffic_user_id"]
    assert long == "x\N{REPLACEMENT CHARACTER}" * 127 + "x"


@in_both
def test_attributes_of_other_kinds_are_passed_over(encoding):
    odd = STABLE | {"url.path": ["/a"], "url.query": True, "server.address": ["b"]}
    report = report_of(encoding, odd)
    assert (report["domain_url"], report["pathname_url"]) == ("https://shop", "/orders/{id}")
    assert report["query_params"] == {}


@in_both
def test_a_span_with_too_many_attributes_is_rejected(encoding):
    many = span(dict.fromkeys(map(str, range(MAX_ATTRIBUTES + 1)), 1))
    traces = traces_of(encoding, many, many, span())
    assert (len(traces.reports), traces.message) == (1, "a span has too many attributes (2)")


def test_a_span_that_is_too_large_or_malformed_costs_no_other():
    request = as_message(span(STABLE | {"note": "x" * protobuf.MAX_SPAN_BYTES}), span(number=1), span(number=2))
    broken = request.SerializeToString().replace(b"api.payments.com", b"api\xffpayments.com", 2)
    traces = read(broken, protobuf)
    assert (len(traces.reports), traces.reasons) == (1, {"a span is too large": 1, "a span is malformed": 1})


@pytest.mark.parametrize("odd", [5, None, "span", []])
def test_what_is_no_object_among_the_spans_of_json_is_rejected(odd):
    traces = read(as_json(odd, span()), json)
    assert (len(traces.reports), traces.message) == (1, "a span is malformed (1)")


@pytest.mark.parametrize("time", [-1, 1.5, "1.5", "soon", "1" * 30, True, [], {}])
def test_times_of_json_are_whole_numbers(time):
    traces = read(as_json(span(startTimeUnixNano=time), span()), json)
    assert (len(traces.reports), traces.message) == (1, "a time of a span is no number of nanoseconds (1)")


def test_json_may_hold_what_orjson_refuses():
    body = as_json(span(STABLE | {"url.path": "/odd"})).replace(b"/odd", rb"/\ud800")
    (report,) = read(body.replace(b'"kind":2', b'"kind":2,"odd":NaN'), json).reports
    assert report["pathname_url"] == "/\N{REPLACEMENT CHARACTER}"


def test_json_is_repaired_up_to_a_size():
    body = as_json(span(name="x" * json.MAX_REPAIRED_BYTES))
    assert len(read(body, json).reports) == 1
    with pytest.raises(Unreadable):
        read(body.replace(b'"kind":2', b'"kind":2,"odd":NaN'), json)


NO_JSON = [b"", b"{", b"[]", b"5", b'{"resourceSpans": 5}', b'{"resourceSpans": [{"scopeSpans": [[]]}]}']
NO_PROTOBUF = [b"\x0a", b"\x0a\x05\x00", b"\xff" * 20, b"\x0b", b"\x09\x00", b"\x0a\xff\xff\xff\xff\xff\x7f"]


@pytest.mark.parametrize(
    ("encoding", "body"), [*((json, body) for body in NO_JSON), *((protobuf, body) for body in NO_PROTOBUF)]
)
def test_a_body_that_is_no_otlp_is_unreadable(encoding, body):
    with pytest.raises(Unreadable):
        read(body, encoding)


@pytest.mark.parametrize("encoding", [protobuf, json])
def test_a_request_without_spans_holds_none(encoding):
    assert read(b"{}" if encoding is json else b"", encoding) == Traces()


def test_parts_of_a_message_are_one():
    """Protobuf lets a message come in parts, and fields in any order."""
    (whole,) = as_message(span({"http.method": "GET", "http.status_code": 200})).resource_spans
    (empty,) = as_message(service_name="").resource_spans
    named = ResourceSpans(resource=whole.resource)
    whole.ClearField("resource")
    joined = b"".join(part.SerializeToString() for part in (whole, empty, named))
    body = b"\x0a" + bytes([len(joined) & 0x7F | 0x80, len(joined) >> 7]) + joined
    (report,) = read(body, protobuf).reports
    assert report["domain_url"] == "http://shop"


@pytest.mark.parametrize("unit", [b"\x0a\x00", b"\x08\x00", b"\x0d\x00\x00\x00\x00", b"\x09" + bytes(8)])
def test_a_body_of_very_many_fields_is_not_read(unit):
    with pytest.raises(TooManyFields):
        read(unit * (protobuf.MAX_FIELDS + 1), protobuf)


def test_a_body_of_very_many_values_is_not_parsed():
    with pytest.raises(TooManyFields):
        read(b'{"resourceSpans": [' + b"{}," * json.MAX_VALUES + b"{}]}", json)


@pytest.mark.parametrize("encoding", [protobuf, json])
def test_the_answer_tells_only_of_spans_that_were_rejected(encoding):
    assert encoding.response(0, "") == (b"{}" if encoding is json else b"")
    answer = encoding.response(3, "why (3)")
    if encoding is json:
        assert orjson.loads(answer) == {"partialSuccess": {"rejectedSpans": "3", "errorMessage": "why (3)"}}
    else:
        partial_success = ExportTraceServiceResponse.FromString(answer).partial_success
        assert (partial_success.rejected_spans, partial_success.error_message) == (3, "why (3)")


OF_OTLP = {"report_id", "occurred_at"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
scalars = (
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
texts = st.sampled_from(["", "/", "[", "http://[", "@", "a:b:c", "//", "\0", "ẞ" * 300, "a..b", "xn--", "٣", ":"])
attributes = st.dictionaries(st.sampled_from(sorted(STABLE | OLDER)), scalars | texts, max_size=12)


@examples(300)
@given(st.dictionaries(st.sampled_from(sorted(span())), json_values), json_values)
def test_no_span_of_json_breaks_the_reading(fields, anything):
    for spans in ([{**span(), **fields}, span()], [anything, span()]):
        assert len(read(as_json(*spans), json).reports) >= 1
    around = {"resource": anything, "scopeSpans": [{"scope": anything, "spans": [span({"http.method": "GET"})]}]}
    for body in (
        {"resourceSpans": anything},
        {"resourceSpans": [around]},
        {"resourceSpans": [{"scopeSpans": anything}]},
    ):
        with suppress(Unreadable):
            read(orjson.dumps(body), json)


@examples(300)
@given(attributes)
def test_a_report_is_one_that_the_service_would_load_as_it_is(given_attributes):
    answered = span({"http.method": "GET", "http.status_code": 200} | given_attributes)
    for encoding in ENCODINGS:
        for report in traces_of(encoding, answered).reports:
            given_by_api = {camel_case(name): value for name, value in report.items() if name not in OF_OTLP}
            loaded = NewTrafficRecordSchema().load(given_by_api)
            assert {name: loaded[name] for name in report.keys() - OF_OTLP} == without(report, *OF_OTLP)
            assert len(report["report_id"]) <= 64
            orjson.dumps(report["query_params"])


@examples(300)
@given(st.binary(max_size=200), st.integers(0, 400), st.binary(max_size=3))
def test_no_protobuf_breaks_the_reading(body, at, change):
    good = as_protobuf(span(), span(number=1))
    for each in (body, good[:at], good[:at] + change + good[at:], good[:at] + change + good[at + len(change) :]):
        with suppress(Unreadable):
            read(each, protobuf)


@examples(100)
@given(st.lists(attributes, max_size=5))
def test_both_encodings_say_the_same(given_attributes):
    spans = [span(each, number=number) for number, each in enumerate(given_attributes)]
    by_json, by_protobuf = (traces_of(encoding, *spans) for encoding in ("json", "protobuf"))
    assert by_json.reasons == by_protobuf.reasons
    assert by_json.ignored == by_protobuf.ignored
    assert [r["pathname_url"] for r in by_json.reports] == [r["pathname_url"] for r in by_protobuf.reports]
