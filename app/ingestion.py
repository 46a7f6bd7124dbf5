"""Reported traffic becomes records, and the notifications they cause, in one transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import current_app

from app import redaction
from app.discord.digest import Digest, Group, power_of, to_milliseconds
from app.errors import NotYours, TrafficSourceNotFound
from app.extensions import db
from app.models.columns import new_id, utcnow
from app.models.traffic import level_of
from app.repositories import outbox, traffic
from app.repositories.traffic import Place, PlaceIds

# Longer paths are cut: the database indexes them.
MAX_PATH_BYTES = 2000
MAX_REMEMBERED = 50_000


@dataclass(frozen=True)
class Reporter:
    """Who reports: a user, for any source of theirs, or an ingest token, for the one source it belongs to."""

    user_id: str | None = None
    source_id: str | None = None


def ingest(source_id: str, reporter: Reporter, reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Store ``reports`` (as ``NewTrafficRecordSchema`` loads them) and what is owed to webhooks, and commit.

    Returns the records' column values with their ``domain_id``. Raises TrafficSourceNotFound, NotYours.
    """
    try:
        return _ingest(source_id, reporter, reports)
    except TrafficSourceNotFound:
        # Perhaps only a webhook was deleted between looking and storing: that must not cost a record.
        return _ingest(source_id, reporter, reports)


def _ingest(source_id: str, reporter: Reporter, reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    webhooks = _permitted_webhooks(source_id, reporter)
    if not reports:
        return []
    places = [_place(report) for report in reports]
    ids, new = _place_ids(source_id, places)
    if new:
        webhooks = _permitted_webhooks(source_id, reporter)
    now = utcnow()
    records = [
        _record(source_id, ids[place].pathname_id, report, now) for place, report in zip(places, reports, strict=True)
    ]
    owed = [
        _delivery(webhooks[record["level"]], place, record, now)
        for place, record in zip(places, records, strict=True)
        if record["level"] in webhooks
    ]
    traffic.add_all(records, owed)
    if owed:
        outbox.notify()
    db.session.commit()
    return [record | {"domain_id": ids[place].domain_id} for place, record in zip(places, records, strict=True)]


def _permitted_webhooks(source_id: str, reporter: Reporter) -> dict[str, Any]:
    rows = traffic.source_with_webhooks(source_id)
    if not rows:
        raise TrafficSourceNotFound
    if reporter.source_id != source_id and reporter.user_id != rows[0].user_id:
        raise NotYours
    return {row.level: row for row in rows if row.webhook_id}


def _place(report: dict[str, Any]) -> Place:
    url = urlsplit(report["domain_url"])
    default_port = ":443" if url.scheme == "https" else ":80"
    host = url.netloc.rpartition("@")[2].lower().removesuffix(default_port).removesuffix(":")
    path = urlsplit(f"//host{report['pathname_url']}").path
    return url.scheme.lower(), host, redaction.truncate(path, MAX_PATH_BYTES)


def _place_ids(source_id: str, places: list[Place]) -> tuple[dict[Place, PlaceIds], bool]:
    """The ids, remembered from earlier reports, and whether any were new.

    What is new is committed on its own, so that no two reporters wait for each other; that ends the transaction.
    """
    remembered: dict[tuple[str, Place], PlaceIds] = current_app.extensions.setdefault("place_ids", {})
    found = {place: ids for place in set(places) if (ids := remembered.get((source_id, place)))}
    if missing := set(places) - found.keys():
        added = traffic.find_or_add_pathnames(source_id, missing)
        db.session.commit()
        if len(remembered) > MAX_REMEMBERED:
            remembered.clear()
        remembered.update({(source_id, place): ids for place, ids in added.items()})
        found |= added
    return found, bool(missing)


def _record(source_id: str, pathname_id: str, report: dict[str, Any], now: datetime) -> dict[str, Any]:
    limit = current_app.config["BODY_PREVIEW_BYTES"]
    return {
        "id": new_id(),
        "traffic_source_id": source_id,
        "pathname_id": pathname_id,
        "status": report["status"],
        "level": level_of(report["status"]),
        "protocol": report["protocol"],
        "method": report["method"],
        "elapsed_time": report["elapsed_time"],
        "traffic_user_id": report["traffic_user_id"],
        "request_id": new_id(),
        "response_id": new_id(),
        "request_headers": redaction.dump(report["request_headers"]),
        "request_body": redaction.preview(report["request_body"], limit),
        "query_params": redaction.dump(report["query_params"]),
        "response_headers": redaction.dump(report["response_headers"]),
        "response_body": redaction.preview(report["response_body"], limit),
        "created_at": now,
    }


def _delivery(webhook: Any, place: Place, record: dict[str, Any], now: datetime) -> dict[str, Any]:
    at = to_milliseconds(now)
    group = Group(
        method=record["method"],
        path=place[2],
        status=record["status"],
        first_at=at,
        last_at=at,
        slowest=record["elapsed_time"],
        durations={power_of(record["elapsed_time"]): 1},
        record_id=record["id"],
    )
    due = max(now, webhook.next_message_at or now, webhook.muted_until or now)
    return {
        "id": new_id(),
        "webhook_id": webhook.webhook_id,
        "digest": Digest((group,)).dumps(),
        "next_attempt_at": None if webhook.state == "suspended" else due,
        "created_at": now,
    }
