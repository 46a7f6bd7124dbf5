"""Traffic that comes by OpenTelemetry."""

import gzip
import io
import logging
import tracemalloc
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from app.api.body import HOLD, PIECE_BYTES, unpacked
from app.api.traces import views
from app.errors import Unavailable
from app.ingestion import ingest_batch_and_commit
from app.models import TrafficRecord
from app.models.columns import utcnow
from tests.integration.helpers import codes, count, refused
from tests.spans import SECOND, STABLE, as_json, as_protobuf, span
from tools.story import Client

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
NOTHING_USED = span({"http.method": "GET", "http.status_code": 0})
MEBIBYTE = 1024 * 1024


class Exporter:
    """Sends spans as the SDKs of OpenTelemetry do."""

    def __init__(self, app, token):
        self.client = Client(app, token)

    def send(self, body, content_type=PROTOBUF, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request("POST", "/v1/traces", data=body, content_type=content_type, headers=headers)


@pytest.fixture
def token(story):
    return story.create_token()["token"]


@pytest.fixture
def exporter(app, token):
    return Exporter(app, token)


def partial_success(answer):
    assert answer.status_code == 200, answer.text
    assert answer.content_type == PROTOBUF
    found = ExportTraceServiceResponse.FromString(answer.data).partial_success
    return found.rejected_spans, found.error_message


def records(story):
    return story.client.get(f"/http-traffics/{story.source_id}?pageLimit=100").json["data"]


def test_a_span_becomes_a_record_and_a_message(exporter, story, discord, dispatch):
    story.create_webhook("fatal")
    answer = exporter.send(as_protobuf(span()))
    assert (answer.status_code, answer.data, answer.content_type) == (200, b"", PROTOBUF)
    (listed,) = records(story)
    assert (listed["status"], listed["method"], listed["level"], listed["elapsedTime"]) == (503, "post", "fatal", 12.5)
    whole = story.client.get(f"/http-traffic-records/record/{listed['id']}").json
    assert (whole["domain"], whole["pathname"]) == ("https://api.payments.com", "/orders/123")
    assert whole["request"]["queryParams"] == '{"page":"1","tag":["a","b"]}'
    dispatch()
    (message,) = discord.messages
    assert message.body["embeds"][0]["title"].endswith("/orders/123`")


@pytest.mark.parametrize("days", [-1.1, 0.1])
def test_the_time_of_an_old_or_future_span_is_that_of_its_arrival(exporter, story, days):
    at = str(int((utcnow() + timedelta(days=days)).timestamp()) * SECOND)
    exporter.send(as_protobuf(span(startTimeUnixNano=at, endTimeUnixNano=at)))
    (record,) = records(story)
    assert abs(datetime.fromisoformat(record["createdAt"]) - utcnow()) < timedelta(minutes=1)


def test_json_is_answered_in_json(exporter, story):
    answer = exporter.send(as_json(span()), JSON)
    assert (answer.status_code, answer.json, answer.content_type) == (200, {}, JSON)
    assert [record["status"] for record in records(story)] == [503]
    answer = exporter.send(as_json(NOTHING_USED), f"{JSON}; charset=utf-8")
    told = {"rejectedSpans": "1", "errorMessage": "the status code of a span is none (1)"}
    assert answer.json == {"partialSuccess": told}


def test_secrets_in_a_query_are_redacted(exporter, story):
    exporter.send(as_protobuf(span(STABLE | {"url.query": "access_token=canary-secret&page=2"})))
    record = story.client.get(f"/http-traffic-records/record/{records(story)[0]['id']}")
    assert "canary-secret" not in record.text
    assert "page" in record.json["request"]["queryParams"]


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
def test_a_body_may_be_packed(exporter, story, coding):
    packed = gzip.compress(as_protobuf(*[span(number=number) for number in range(20)]))
    assert partial_success(exporter.send(packed, Content_Encoding=coding)) == (0, "")
    assert len(records(story)) == 20


def test_what_unpacks_to_pieces_of_any_size_is_whole(app):
    for size in (0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7):
        for body in (bytes(size), b"".join(number.to_bytes(4) for number in range(size // 4))):
            with app.test_request_context(data=gzip.compress(body), headers={"Content-Encoding": "gzip"}) as context:
                assert unpacked(context.request, size + 100) == body


PACKED = gzip.compress(b"x", mtime=0)
NO_GZIP = {
    "empty": b"",
    "text": b"no gzip",
    "cut off": PACKED[:-1],
    "followed by something": PACKED + b"y",
    "followed by much": PACKED + bytes(2 * PIECE_BYTES),
    "twice": PACKED * 2,
    "of another size": PACKED[:-1] + b"?",
}


@pytest.mark.parametrize("packed", NO_GZIP.values(), ids=NO_GZIP.keys())
def test_a_body_that_is_not_gzip_is_refused(exporter, packed):
    answer = exporter.send(packed, Content_Encoding="gzip")
    assert refused(answer, 400)["message"] == "The request body is not gzip, as Content-Encoding says."


def test_a_gzip_bomb_is_refused_before_it_takes_memory(exporter):
    bomb = gzip.compress(bytes(200 * MEBIBYTE))
    tracemalloc.start()
    try:
        answer = exporter.send(bomb, Content_Encoding="gzip")
        assert tracemalloc.get_traced_memory()[1] < 20 * MEBIBYTE
    finally:
        tracemalloc.stop()
    assert "16,777,216" in refused(answer, 413)["message"]


def test_what_is_unpacked_counts_as_body_where_bodies_have_bounded_room(app):
    held = []

    def hold(size):
        held.append(size)
        if sum(held) > MEBIBYTE:
            raise Unavailable

    body = gzip.compress(bytes(4 * MEBIBYTE))
    environ = {HOLD: hold}
    with (
        app.test_request_context(data=body, headers={"Content-Encoding": "gzip"}, environ_overrides=environ) as context,
        pytest.raises(Unavailable),
    ):
        unpacked(context.request, 16 * MEBIBYTE)
    assert sum(held) <= MEBIBYTE + PIECE_BYTES


def test_a_body_that_is_too_large_is_refused(exporter, story):
    refused(exporter.send(bytes(16 * MEBIBYTE + 1)), 413)
    chunked = {"input_stream": io.BytesIO(bytes(17 * MEBIBYTE)), "environ_overrides": {"wsgi.input_terminated": True}}
    answer = exporter.client.request(
        "POST", "/v1/traces", content_type=PROTOBUF, headers={"Transfer-Encoding": "chunked"}, **chunked
    )
    refused(answer, 413)
    assert records(story) == []


def test_a_body_with_too_much_in_it_is_refused(exporter):
    assert "too many" in refused(exporter.send(b"\x0a\x00" * 1_000_000), 413)["message"]
    assert "too many" in refused(exporter.send(b'{"resourceSpans":[' + b"{}," * 1_000_000, JSON), 413)["message"]


@pytest.mark.parametrize(("body", "content_type"), [(b"\x0a\x05", PROTOBUF), (b"[]", JSON), (b"", JSON)])
def test_a_body_that_is_no_otlp_is_refused(exporter, body, content_type):
    assert "ExportTraceServiceRequest" in refused(exporter.send(body, content_type), 400)["message"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/protobuf", "", "application/jsonx"])
def test_another_content_type_is_refused(exporter, content_type):
    told = refused(exporter.send(as_protobuf(span()), content_type), 415)["message"]
    assert PROTOBUF in told


def test_another_content_encoding_is_refused(exporter):
    assert "gzip" in refused(exporter.send(b"", Content_Encoding="br"), 415)["message"]


def test_a_span_that_cannot_be_used_costs_no_other(exporter, story, gained):
    ignored = [span({"rpc.system": "grpc"}), span(kind=3)]
    absurd = span(endTimeUnixNano="1", number=1)
    spans = [span(number=9), NOTHING_USED, absurd, span(number=2), *ignored, NOTHING_USED]
    assert partial_success(exporter.send(as_protobuf(*spans))) == (
        3,
        "the status code of a span is none (2); the times of a span cannot be those of a request (1)",
    )
    assert len(records(story)) == 2
    outcomes = {name: gained(f'arkyn_spans_total{{outcome="{name}"}}') for name in ("stored", "ignored", "rejected")}
    assert outcomes == {"stored": 2, "ignored": 2, "rejected": 3}


def test_where_nothing_can_be_used_the_answer_says_why(exporter, story):
    assert partial_success(exporter.send(as_protobuf(NOTHING_USED))) == (1, "the status code of a span is none (1)")
    assert records(story) == []


@pytest.mark.parametrize("spans", [[], [span(kind=3)]])
def test_where_nothing_concerns_http_all_is_well(exporter, story, spans):
    assert partial_success(exporter.send(as_protobuf(*spans))) == (0, "")
    assert records(story) == []


def test_a_reason_is_logged_once_a_source_and_quotes_nothing(exporter, story, caplog):
    caplog.set_level(logging.DEBUG)
    for _ in range(3):
        exporter.send(as_protobuf(span(STABLE | {"http.response.status_code": "canary-status"})))
    lines = [entry for entry in caplog.records if entry.name == views.log.name]
    assert len(lines) == 1
    assert story.source_id in lines[0].getMessage()
    assert "canary" not in caplog.text


def test_more_than_a_thousand_spans_are_stored_in_parts(app, exporter, monkeypatch):
    sizes = []

    def watched(source_id, caller, part):
        sizes.append(len(part))
        return ingest_batch_and_commit(source_id, caller, part)

    monkeypatch.setattr(views, "ingest_batch_and_commit", watched)
    exporter.send(as_protobuf(*[span(number=number) for number in range(2_500)]))
    assert sizes == [1_000, 1_000, 500]
    assert count(app, TrafficRecord) == 2_500


def test_a_sign_in_token_does_not_tell_which_source(app, ana, exporter):
    assert "ingest token" in refused(Exporter(app, ana.token).send(as_protobuf(span())), 401)["message"]


@pytest.mark.parametrize("body", [b"no protobuf", bytes(17 * MEBIBYTE)])
def test_a_token_that_is_good_for_nothing_outranks_all_else(app, story, token, body):
    revoked = story.client.get(f"/traffic-sources/{story.source_id}/ingest-tokens").json["data"][0]["id"]
    story.client.delete(f"/traffic-sources/{story.source_id}/ingest-tokens/{revoked}")
    for each in (token, "ingest_unknown", "nonsense"):
        refused(Exporter(app, each).send(body, "text/plain", Content_Encoding="br"), 401)
    assert refused(Exporter(app, None).send(body), 400)["message"] == "Missing authentication token."


def test_a_body_is_not_read_for_a_wrong_token(app, story):
    body = SimpleNamespace(read=lambda *_: pytest.fail("The body was read."))
    environ = {"wsgi.input": body, "CONTENT_LENGTH": "5"}
    client = Client(app, "ingest_unknown")
    refused(client.request("POST", "/v1/traces", content_type=PROTOBUF, environ_overrides=environ), 401)


def test_a_token_reports_to_its_own_source_alone(app, exporter, story, ana):
    other = ana.create_source(domain="other.example.com")
    exporter.send(as_protobuf(span()))
    assert len(records(story)) == 1
    assert ana.get(f"/http-traffics/{other}").json["data"] == []
    ana.delete(f"/traffic-sources/{story.source_id}")
    refused(exporter.send(as_protobuf(span())), 401)


def test_a_source_at_its_limit_tells_when_to_send_again(make_app, token, story):
    limited = Exporter(make_app(INGEST_RATE_LIMIT="5 per minute"), token)
    five = as_protobuf(*[span(number=number) for number in range(5)])
    answers = [limited.send(five), limited.send(as_protobuf(span(number=6)))]
    assert codes(answers) == [200, 429]
    assert 1 <= int(answers[1].headers["Retry-After"]) <= 60
    assert limited.send(as_protobuf(span(kind=3))).status_code == 200
    assert len(records(story)) == 5


def test_while_the_database_is_in_trouble_clients_are_asked_to_send_again(away):
    """OTLP's clients lose what is answered with 500."""
    refused(Exporter(away.app, "ingest_any").send(as_protobuf(span())), 503)
