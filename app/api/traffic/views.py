"""Takes reports, one or a batch, and lists records, domains and pathnames."""

import logging
import re
from typing import Any

from flask import Response, g, request

from app.api import rate_limits, refusals
from app.api.auth import current_caller, may_report
from app.api.blueprint import Blueprint
from app.api.schema import Batch, page_schema
from app.api.traffic.pages import whole_records
from app.api.traffic.schemas import (
    BatchResultSchema,
    DomainQueryArgsSchema,
    DomainSchema,
    IngestLogSchema,
    NewTrafficRecordSchema,
    PathnameQueryArgsSchema,
    PathnameSchema,
    TrafficQueryArgsSchema,
    TrafficRecordSchema,
    TrafficSchema,
    WholeRecordQueryArgsSchema,
)
from app.extensions import db
from app.ingestion import ingest_and_commit, ingest_batch_and_commit
from app.monitoring import counters
from app.repositories import purging, traffic
from app.repositories.access import Role
from app.repositories.base import Page
from app.repositories.reports import Stored

blp = Blueprint("Traffic", __name__, description="Report traffic, and list the records.")

log = logging.getLogger(__name__)

DROPPED = re.compile(r"[0-9]{1,9}")
Answer = tuple[dict[str, Any], int]

MAX_RECORD_BYTES = 8 * 1024 * 1024
MAX_BATCH_BYTES = 16 * 1024 * 1024
REPEATED = "A report with this `reportId` was stored before; this is its record."
REPORTING = refusals.SOURCE | {429: "The traffic source has reached its limit of records."}


@blp.route("/http-traffic-records/<id:traffic_source_id>", methods=["POST"], guard=may_report)
@blp.arguments(NewTrafficRecordSchema(), max_bytes=MAX_RECORD_BYTES)
@blp.response(201, TrafficSchema())
@blp.alt_response(200, schema=TrafficSchema, description=REPEATED)
@blp.errors(REPORTING)
def create_traffic_record(body: dict[str, Any], traffic_source_id: str) -> Answer:
    """Report one request

    If the traffic source has a webhook for the record's level, this also puts a delivery into the outbox.
    """
    caller = current_caller()
    with rate_limits.reporting(traffic_source_id, caller):
        return _answer(ingest_and_commit(traffic_source_id, caller, body))


@blp.route("/http-traffic-records/<id:traffic_source_id>/batch", methods=["POST"], guard=may_report)
@blp.arguments(NewTrafficRecordSchema(many=True), max_bytes=MAX_BATCH_BYTES)
@blp.response(201, BatchResultSchema())
@blp.errors(REPORTING)
def create_traffic_records(body: Batch, traffic_source_id: str) -> dict[str, Any]:
    """Report up to 1,000 requests

    Invalid reports are listed in `rejected`; all others are stored.
    """
    caller = current_caller()
    with rate_limits.reporting(traffic_source_id, caller, len(body.items)):
        ingested = ingest_batch_and_commit(traffic_source_id, caller, body.items)
    if ingested.accepted:
        _note_dropped(traffic_source_id)
    return {**ingested._asdict(), "rejected": body.rejected}


def _note_dropped(source_id: str) -> None:
    """Count the reports that a reporter dropped. Not for a repeated batch, since it repeats the header."""
    dropped = request.headers.get("X-Reports-Dropped", "")
    if DROPPED.fullmatch(dropped) and int(dropped):
        counters.count_dropped(int(dropped))
        log.warning("A reporter of traffic source %s dropped %s reports.", source_id, dropped)


@blp.route("/ingest-log", methods=["POST"], guard=may_report)
@blp.arguments(IngestLogSchema(), max_bytes=MAX_RECORD_BYTES)
@blp.response(201, TrafficSchema())
@blp.alt_response(200, schema=TrafficSchema, description=REPEATED)
@blp.errors(REPORTING)
def ingest_log(body: dict[str, Any]) -> Answer:
    """Report one request, as arkyn's SDK does"""
    g.source_id = source_id = body.pop("traffic_source_id")
    caller = current_caller()
    with rate_limits.reporting(source_id, caller):
        return _answer(ingest_and_commit(source_id, caller, body))


def _answer(stored: Stored) -> Answer:
    return stored.record, 200 if stored.is_repeated else 201


@blp.route("/http-traffics/<id:traffic_source_id>", methods=["GET"], needs=Role.READER)
@blp.arguments(TrafficQueryArgsSchema(), location="query")
@blp.response(200, page_schema(TrafficSchema))
@blp.errors(refusals.SOURCE)
def list_traffic(query: dict[str, Any], traffic_source_id: str) -> Page:
    """List records

    Without `method`, only those with the five methods that arkyn's panel knows.
    """
    return traffic.list_of(traffic_source_id, **query)


@blp.route("/http-traffics/<id:traffic_source_id>/<id:record_id>", methods=["GET"], needs=Role.READER)
@blp.response(200, TrafficSchema())
@blp.errors(refusals.SOURCE | {404: "The traffic source or the traffic record was not found."})
def get_traffic(traffic_source_id: str, record_id: str) -> dict[str, Any]:
    """Get one record as the list shows it"""
    return traffic.get_summary(traffic_source_id, record_id)


@blp.route("/http-traffic-records/<id:traffic_source_id>", methods=["GET"], needs=Role.READER)
@blp.arguments(WholeRecordQueryArgsSchema(), location="query")
@blp.response(200, page_schema(TrafficRecordSchema))
@blp.errors(refusals.SOURCE)
def list_traffic_records(query: dict[str, Any], traffic_source_id: str) -> Response:
    """List records with their requests and responses"""
    return whole_records(traffic.list_by_path(traffic_source_id, **query))


@blp.route("/http-traffic-records/record/<id:record_id>", methods=["GET"], needs=Role.READER)
@blp.response(200, TrafficRecordSchema())
@blp.errors(refusals.RECORD)
def get_traffic_record(record_id: str) -> Any:
    """Get one record with its request and response"""
    return traffic.get(record_id)


@blp.route("/http-traffic-records/record/<id:record_id>", methods=["DELETE"])
@blp.response(204)
@blp.errors(refusals.RECORD)
def delete_traffic_record(record_id: str) -> None:
    """Delete a record; a message that tells of it stays"""
    purging.delete_record(record_id)
    db.session.commit()


@blp.route("/domains/<id:traffic_source_id>", methods=["GET"], needs=Role.READER)
@blp.arguments(DomainQueryArgsSchema(), location="query")
@blp.response(200, page_schema(DomainSchema))
@blp.errors(refusals.SOURCE)
def list_domains(query: dict[str, Any], traffic_source_id: str) -> Page:
    """List the domains of a traffic source's records"""
    return traffic.list_domains(traffic_source_id, **query)


@blp.route("/pathnames/<id:traffic_source_id>/<id:domain_id>", methods=["GET"], needs=Role.READER)
@blp.arguments(PathnameQueryArgsSchema(), location="query")
@blp.response(200, page_schema(PathnameSchema))
@blp.errors(refusals.SOURCE | {404: "The traffic source or the domain was not found."})
def list_pathnames(query: dict[str, Any], traffic_source_id: str, domain_id: str) -> Page:
    """List the pathnames of a domain's records"""
    return traffic.list_pathnames(traffic_source_id, domain_id, **query)
