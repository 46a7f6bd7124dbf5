"""Takes OpenTelemetry's spans by OTLP/HTTP, and stores those of HTTP servers as records."""

import logging
from functools import lru_cache
from typing import Any

from flask import Response, g, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from app.api import rate_limits
from app.api.auth import current_caller, current_source_id, may_report_by_ingest_token
from app.api.blueprint import Blueprint
from app.api.body import unpacked
from app.api.traces.documentation import REFUSALS, REQUEST_BODY, RESPONSES
from app.ingestion import Ingested, ingest_batch_and_commit
from app.monitoring import counters
from app.otlp import json, protobuf
from app.otlp.reports import Encoding, Traces, read
from app.otlp.spans import TooManyFields, Unreadable

log = logging.getLogger(__name__)

blp = Blueprint("Traces", __name__, description="Report traffic by OpenTelemetry.")

MAX_BODY_BYTES = 16 * 1024 * 1024
# Reports that are stored in one transaction.
MAX_STORED_AT_ONCE = 1_000
ENCODINGS: dict[str, Encoding] = {protobuf.MIMETYPE: protobuf, json.MIMETYPE: json}


@blp.route("/v1/traces", methods=["POST"], guard=may_report_by_ingest_token)
@blp.doc(requestBody=REQUEST_BODY, responses=RESPONSES)
@blp.response(200)
@blp.errors(REFUSALS)
def ingest_traces() -> Response:
    """Report spans, by OTLP/HTTP

    Each span of an HTTP server becomes a record, at most once; all other spans are ignored.
    """
    encoding = _encoding()
    traces = _read(encoding)
    stored = _store(traces.reports)
    counters.count_spans(
        stored=stored.accepted, repeated=stored.repeated, ignored=traces.ignored, rejected=traces.rejected
    )
    for reason in traces.reasons:
        _log_once(current_source_id(), reason)
    return Response(encoding.response(traces.rejected, traces.message), mimetype=encoding.MIMETYPE)


def _encoding() -> Encoding:
    if encoding := ENCODINGS.get(request.mimetype):
        return encoding
    raise UnsupportedMediaType(f"Content-Type must be {' or '.join(ENCODINGS)}.")


def _read(encoding: Encoding) -> Traces:
    body = unpacked(request, MAX_BODY_BYTES)
    try:
        return read(body, encoding)
    except Unreadable:
        raise BadRequest("The request body is no ExportTraceServiceRequest in the encoding of its Content-Type.")
    except TooManyFields:
        raise RequestEntityTooLarge("The request body holds too many spans or values.")


def _store(reports: list[dict[str, Any]]) -> Ingested:
    """Store the reports in parts. If one fails, the client sends all of them again, as repeats."""
    if not reports:
        return Ingested(0, 0)
    source_id, caller = current_source_id(), current_caller()
    accepted = repeated = 0
    with rate_limits.reporting(source_id, caller, len(reports)):
        for start in range(0, len(reports), MAX_STORED_AT_ONCE):
            ingested = ingest_batch_and_commit(source_id, caller, reports[start : start + MAX_STORED_AT_ONCE])
            accepted += ingested.accepted
            repeated += ingested.repeated
    return Ingested(accepted, repeated)


@lru_cache(maxsize=1_000)
def _log_once(source_id: str, reason: str) -> None:
    """Log a reason once for each source, since a client that sends one such span sends thousands."""
    log.warning(
        "Spans of traffic source %s are rejected: %s. It is not logged again.",
        source_id,
        reason,
        extra={"source_id": source_id, "request_id": g.request_id},
    )
