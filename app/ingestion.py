"""Reported traffic becomes records, and the notifications they cause, in one transaction."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from flask import current_app

from app import counters, redaction
from app.discord.digest import Event, of_one, summarise, to_milliseconds
from app.errors import TrafficSourceNotFound
from app.extensions import db
from app.models.columns import new_id, utcnow
from app.models.traffic import level_of
from app.repositories import places, reports
from app.repositories.callers import Caller, explain_refusal
from app.repositories.places import Place, PlaceIds

# Longer paths are cut: the database indexes them.
MAX_PATH_BYTES = 2000
MAX_REMEMBERED = 50_000

T = TypeVar("T")


def ingest(source_id: str, caller: Caller, report: dict[str, Any]) -> dict[str, Any]:
    """Store ``report`` (as ``NewTrafficRecordSchema`` loads it) and what is owed to a webhook for it, and commit.

    Returns the record's column values with its ``domain_id``. Raises InvalidToken, TrafficSourceNotFound, NotYours.
    """
    return _twice_if_gone(lambda: _ingest(source_id, caller, report))


def ingest_batch(source_id: str, caller: Caller, batch: list[dict[str, Any]]) -> None:
    """Many reports as ``ingest`` takes one: all or none."""
    _twice_if_gone(lambda: _ingest_batch(source_id, caller, batch))


def _twice_if_gone(work: Callable[[], T]) -> T:
    """Perhaps only a webhook was deleted between looking and storing: that must not cost a record."""
    try:
        return work()
    except TrafficSourceNotFound:
        return work()


def _ingest(source_id: str, caller: Caller, report: dict[str, Any]) -> dict[str, Any]:
    place = _place(report)
    ids = _place_ids(source_id, caller, {place})[place]
    record = _record(source_id, ids, report, utcnow())
    digest = of_one(_event(record, place), to_milliseconds(record["created_at"]))
    if not reports.add_one(caller, record, digest.dumps()):
        _refuse(source_id, caller)
    counters.count_record(record["level"])
    return record | {"domain_id": ids.domain_id}


def _ingest_batch(source_id: str, caller: Caller, batch: list[dict[str, Any]]) -> None:
    visited = [_place(report) for report in batch]
    ids = _place_ids(source_id, caller, set(visited))
    webhooks = reports.find_webhooks(caller, source_id)
    if webhooks is None:
        _refuse(source_id, caller)
    now = utcnow()
    records = [_record(source_id, ids[place], report, now) for place, report in zip(visited, batch, strict=True)]
    levels = {record["level"] for record in records}
    concerned = (webhook for webhook in webhooks if webhook.level in levels)
    reports.add_many(records, [_delivery(webhook, records, visited, now) for webhook in concerned])
    db.session.commit()
    counters.count_records(record["level"] for record in records)


def _refuse(source_id: str, caller: Caller) -> NoReturn:
    explain_refusal(source_id, caller)
    raise TrafficSourceNotFound


def _place(report: dict[str, Any]) -> Place:
    url = urlsplit(report["domain_url"])
    default_port = ":443" if url.scheme == "https" else ":80"
    host = url.netloc.rpartition("@")[2].lower().removesuffix(default_port).removesuffix(":")
    path = urlsplit(f"//host{report['pathname_url']}").path
    return url.scheme.lower(), host, redaction.truncate(path, MAX_PATH_BYTES)


def _place_ids(source_id: str, caller: Caller, wanted: set[Place]) -> dict[Place, PlaceIds]:
    """The ids of places, remembered from earlier reports.

    What is new is committed on its own, so that no two reporters wait for each other.
    """
    remembered: dict[tuple[str, Place], PlaceIds] = current_app.extensions.setdefault("place_ids", {})
    found = {place: ids for place in wanted if (ids := remembered.get((source_id, place)))}
    if missing := wanted - found.keys():
        added = _find_or_add(source_id, caller, missing)
        if len(remembered) > MAX_REMEMBERED:
            remembered.clear()
        remembered.update({(source_id, place): ids for place, ids in added.items()})
        found |= added
    return found


def _find_or_add(source_id: str, caller: Caller, wanted: set[Place]) -> dict[Place, PlaceIds]:
    if len(wanted) == 1:
        (place,) = wanted
        if ids := places.find_or_add_one(source_id, caller, place):
            return {place: ids}
    explain_refusal(source_id, caller)
    added = places.find_or_add(source_id, wanted)
    db.session.commit()
    return added


def _record(source_id: str, place: PlaceIds, report: dict[str, Any], now: datetime) -> dict[str, Any]:
    limit = current_app.config["BODY_PREVIEW_BYTES"]
    return {
        "id": new_id(),
        "traffic_source_id": source_id,
        "pathname_id": place.pathname_id,
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


def _event(record: dict[str, Any], place: Place) -> Event:
    return Event(record["method"], place[2], record["status"], record["elapsed_time"], record["id"])


def _delivery(webhook: Any, records: list[dict[str, Any]], visited: list[Place], now: datetime) -> dict[str, Any]:
    """What is owed to a webhook for the records of its level: one message."""
    concerned = zip(records, visited, strict=True)
    events = [_event(record, place) for record, place in concerned if record["level"] == webhook.level]
    digest = summarise(events, to_milliseconds(now))
    due = max(now, webhook.next_message_at or now, webhook.muted_until or now)
    return {
        "id": new_id(),
        "webhook_id": webhook.id,
        "event_count": len(events),
        "digest": digest.dumps(),
        "next_attempt_at": None if webhook.state == "suspended" else due,
        "created_at": now,
    }
