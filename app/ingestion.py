"""Ingests reports: turns each into a place and a record, then stores all in one call."""

import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import current_app

from app.digests import level_of
from app.greenlets import yielding
from app.json_input import ValueBudget
from app.models.columns import id_made_at, in_milliseconds, new_id, utcnow
from app.monitoring import counters
from app.repositories import access, reports
from app.repositories.access import Caller
from app.repositories.reports import Place, Report, Stored
from app.security import redaction

END_OF_PATH = re.compile(r"[?#]")
# Limits on the JSON values parsed from strings: bodies of one request; headers or parameters of one record.
MAX_HELD_VALUES = 500_000
MAX_HEADER_VALUES = 5_000
# For older reports, and those from the future, the time of arrival replaces ``occurred_at``.
MAX_REPORT_AGE = timedelta(days=1)
# Longer paths are truncated, since an index cannot hold them.
MAX_PATH_BYTES = 2000


class Ingested(NamedTuple):
    """The numbers of reports of a batch that were stored, and that repeated a known ``reportId``."""

    accepted: int
    repeated: int


def ingest_and_commit(source_id: str, caller: Caller, given: dict[str, Any]) -> Stored:
    """Store one report, as ``NewTrafficRecordSchema`` loads it, and its delivery.

    Raises InvalidToken, TrafficSourceNotFound, NotYours, TrafficSourceChanged.
    """
    now = utcnow()
    report = _report(source_id, given, now, ValueBudget(MAX_HELD_VALUES))
    stored = reports.store_one_and_commit(caller, report, now)
    if not stored.is_repeated:
        counters.count_record(report.record["level"])
    return stored


def ingest_batch_and_commit(source_id: str, caller: Caller, batch: list[dict[str, Any]]) -> Ingested:
    """Store all reports or none, and one delivery per webhook. Raises the errors of ``ingest_and_commit``."""
    access.check_reporter(caller, source_id)
    now, budget = utcnow(), ValueBudget(MAX_HELD_VALUES)
    ready = [_report(source_id, given, now, budget) for given in yielding(batch)]
    stored = reports.store_many_and_commit(source_id, ready, now)
    counters.count_records(record["level"] for record in stored)
    return Ingested(len(stored), len(ready) - len(stored))


def _report(source_id: str, given: dict[str, Any], now: datetime, budget: ValueBudget) -> Report:
    return Report(_place(given), _record(source_id, given, now, budget))


def _place(report: dict[str, Any]) -> Place:
    url = urlsplit(report["domain_url"])
    default_port = ":443" if url.scheme == "https" else ":80"
    host = url.netloc.rpartition("@")[2].lower().removesuffix(default_port).removesuffix(":")
    path = END_OF_PATH.split(report["pathname_url"], 1)[0]
    return Place(url.scheme, host, redaction.truncate(path or "/", MAX_PATH_BYTES))


def _record(source_id: str, report: dict[str, Any], now: datetime, budget: ValueBudget) -> dict[str, Any]:
    limit = current_app.config["BODY_PREVIEW_BYTES"]
    occurred_at = _known_time(report["occurred_at"], now)
    return {
        "id": id_made_at(occurred_at) if occurred_at else new_id(),
        "report_id": report["report_id"],
        "traffic_source_id": source_id,
        "status": report["status"],
        "level": level_of(report["status"]),
        "protocol": report["protocol"],
        "method": report["method"],
        "elapsed_time": report["elapsed_time"],
        "traffic_user_id": report["traffic_user_id"],
        "request_id": new_id(),
        "response_id": new_id(),
        "request_headers": redaction.dump(report["request_headers"], ValueBudget(MAX_HEADER_VALUES)),
        "request_body": redaction.preview(report["request_body"], limit, budget),
        "query_params": redaction.dump(report["query_params"], ValueBudget(MAX_HEADER_VALUES)),
        "response_headers": redaction.dump(report["response_headers"], ValueBudget(MAX_HEADER_VALUES)),
        "response_body": redaction.preview(report["response_body"], limit, budget),
        "created_at": occurred_at or now,
    }


def _known_time(occurred_at: datetime | None, now: datetime) -> datetime | None:
    """``occurred_at`` in whole milliseconds, if it is within the last MAX_REPORT_AGE."""
    if occurred_at is None or not now - MAX_REPORT_AGE <= occurred_at <= now:
        return None
    return in_milliseconds(occurred_at)
