from typing import Any

from flask import g

from app.api import rate_limits
from app.api.auth import current_caller, current_user, may_report, signed_in_by_statement
from app.api.base import Batch, Blueprint, PageQueryArgsSchema, page_schema
from app.api.traffic.schemas import (
    BatchResultSchema,
    DomainSchema,
    IngestLogSchema,
    NewTrafficRecordSchema,
    PathnameSchema,
    TrafficQueryArgsSchema,
    TrafficRecordSchema,
    TrafficSchema,
)
from app.ingestion import ingest, ingest_batch
from app.repositories import traffic, traffic_sources
from app.repositories.base import Page

blp = Blueprint("Traffic", __name__, description="Report traffic, and look at what was reported.")

MAX_RECORD_BYTES = 8 * 1024 * 1024
MAX_BATCH_BYTES = 16 * 1024 * 1024
MISSING = {403: "The traffic source belongs to another user.", 404: "The specified traffic source was not found."}
REPORTING = MISSING | {429: "The traffic source has reached its limit of records."}


@blp.route("/http-traffic-records/<id:id>", methods=["POST"], guard=may_report)
@blp.arguments(NewTrafficRecordSchema(), max_bytes=MAX_RECORD_BYTES)
@blp.response(201, TrafficSchema())
@blp.errors(REPORTING)
def create_traffic_record(body: dict[str, Any], id: str) -> dict[str, Any]:
    """Report one request

    Where the source has a webhook for its level, this also makes the notification.
    """
    caller = current_caller()
    with rate_limits.reporting(id, caller):
        return ingest(id, caller, body)


@blp.route("/http-traffic-records/<id:id>/batch", methods=["POST"], guard=may_report)
@blp.arguments(NewTrafficRecordSchema(many=True), max_bytes=MAX_BATCH_BYTES)
@blp.response(201, BatchResultSchema())
@blp.errors(REPORTING)
def create_traffic_records(body: Batch, id: str) -> dict[str, Any]:
    """Report up to 1,000 requests

    What cannot be used is named in `rejected`, and costs nothing else.
    """
    caller = current_caller()
    with rate_limits.reporting(id, caller, len(body.items)):
        ingest_batch(id, caller, body.items)
    return {"accepted": len(body.items), "repeated": 0, "rejected": body.rejected}


@blp.route("/ingest-log", methods=["POST"], guard=may_report)
@blp.arguments(IngestLogSchema(), max_bytes=MAX_RECORD_BYTES)
@blp.response(201, TrafficSchema())
@blp.errors(REPORTING)
def ingest_log(body: dict[str, Any]) -> dict[str, Any]:
    """Report one request, as arkyn's SDK does"""
    g.source_id = source_id = body.pop("traffic_source_id")
    caller = current_caller()
    with rate_limits.reporting(source_id, caller):
        return ingest(source_id, caller, body)


@blp.route("/http-traffics/<id:id>", methods=["GET"], guard=signed_in_by_statement)
@blp.arguments(TrafficQueryArgsSchema(), location="query")
@blp.response(200, page_schema(TrafficSchema))
@blp.errors(MISSING)
def list_traffic(query: dict[str, Any], id: str) -> Page:
    """List reported requests, newest first"""
    return traffic.list_of(id, current_caller(), **query)


@blp.route("/http-traffic-records/record/<id:id>", methods=["GET"])
@blp.response(200, TrafficRecordSchema())
@blp.errors(
    {403: "The record's traffic source belongs to another user.", 404: "The specified traffic record was not found."}
)
def get_traffic_record(id: str) -> Any:
    """Get one reported request whole"""
    return traffic.get_owned(id, current_user.id)


@blp.route("/domains/<id:id>", methods=["GET"])
@blp.arguments(PageQueryArgsSchema(), location="query")
@blp.response(200, page_schema(DomainSchema))
@blp.errors(MISSING)
def list_domains(query: dict[str, Any], id: str) -> Page:
    """List the hosts seen, newest first"""
    return traffic.list_domains(traffic_sources.get_owned(id, current_user.id).id, **query)


@blp.route("/pathnames/<id:id>/<id:domain_id>", methods=["GET"])
@blp.arguments(PageQueryArgsSchema(), location="query")
@blp.response(200, page_schema(PathnameSchema))
@blp.errors(MISSING | {404: "The traffic source or the domain was not found."})
def list_pathnames(query: dict[str, Any], id: str, domain_id: str) -> Page:
    """List the paths seen on a host, newest first"""
    return traffic.list_pathnames(traffic_sources.get_owned(id, current_user.id).id, domain_id, **query)
