"""Reported traffic becomes records, and the notifications they cause, in one transaction."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from flask import current_app

from app.digests import Digest, Event, to_milliseconds
from app.errors import PlaceRemoved, TrafficSourceNotFound
from app.extensions import db
from app.greenlets import in_turns
from app.json_input import ValueBudget
from app.models.columns import new_id, utcnow
from app.models.traffic import level_of
from app.monitoring import counters
from app.repositories import places, reports
from app.repositories.access import Caller, explain_refusal
from app.repositories.places import Place, PlaceIds
from app.security import redaction

END_OF_PATH = re.compile(r"[?#]")
# Values made of the bodies of one request that are strings of JSON, and of one record's headers or parameters. What is
# beyond is not kept.
MAX_HELD_VALUES = 500_000
MAX_HEADER_VALUES = 5_000
# How often a place may be removed at the very moment another record of it comes.
TRIES = 5
# Longer paths are cut: the database indexes them.
MAX_PATH_BYTES = 2000
# How many places are remembered, and up to which length: at most 12 MB.
MAX_REMEMBERED = 10_000
MAX_REMEMBERED_LENGTH = 256

T = TypeVar("T")


def ingest(source_id: str, caller: Caller, report: dict[str, Any]) -> dict[str, Any]:
    """Store ``report`` (as ``NewTrafficRecordSchema`` loads it) and what is owed to a webhook for it, and commit.

    Returns the record's column values with its ``domain_id``. Raises InvalidToken, TrafficSourceNotFound, NotYours.
    """
    return _again_where_places_went(lambda: _ingest(source_id, caller, report))


def ingest_batch(source_id: str, caller: Caller, batch: list[dict[str, Any]]) -> None:
    """Many reports as ``ingest`` takes one: all or none."""
    _again_where_places_went(lambda: _ingest_batch(source_id, caller, batch))


def _again_where_places_went(work: Callable[[], T]) -> T:
    """A domain or pathname that is remembered here may have gone with its last record: that must not cost a record."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except PlaceRemoved:
            _remembered().clear()
    return work()


def _ingest(source_id: str, caller: Caller, report: dict[str, Any]) -> dict[str, Any]:
    place = _place(report)
    ids = _place_ids(source_id, caller, {place})[place]
    record = _record(source_id, ids, report, utcnow())
    digest = Digest.of([_event(record, place)])
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
    db.session.commit()  # No connection is held while records are made.
    now = utcnow()
    budget = ValueBudget(MAX_HELD_VALUES)
    reported = in_turns(zip(visited, batch, strict=True), size=1)
    records = [_record(source_id, ids[place], report, now, budget) for place, report in reported]
    events: dict[str, list[Event]] = {}
    for record, place in zip(records, visited, strict=True):
        if webhook_id := webhooks.get(record["level"]):
            events.setdefault(webhook_id, []).append(_event(record, place))
    reports.add_many(records, {webhook_id: Digest.of(told) for webhook_id, told in events.items()}, now)
    db.session.commit()
    counters.count_records(record["level"] for record in records)


def _refuse(source_id: str, caller: Caller) -> NoReturn:
    explain_refusal(source_id, caller)
    raise TrafficSourceNotFound


def _place(report: dict[str, Any]) -> Place:
    url = urlsplit(report["domain_url"])
    default_port = ":443" if url.scheme == "https" else ":80"
    host = url.netloc.rpartition("@")[2].lower().removesuffix(default_port).removesuffix(":")
    path = END_OF_PATH.split(report["pathname_url"], 1)[0]
    return url.scheme, host, redaction.truncate(path or "/", MAX_PATH_BYTES)


def _place_ids(source_id: str, caller: Caller, wanted: set[Place]) -> dict[Place, PlaceIds]:
    """The ids of places, remembered from earlier reports.

    What is new is committed on its own, so that no two reporters wait for each other.
    """
    remembered = _remembered()
    found = {place: ids for place in wanted if (ids := remembered.get((source_id, place)))}
    if missing := wanted - found.keys():
        added = _find_or_add(source_id, caller, missing)
        if len(remembered) > MAX_REMEMBERED:
            remembered.clear()
        short = {place: ids for place, ids in added.items() if len(place[1]) + len(place[2]) <= MAX_REMEMBERED_LENGTH}
        remembered.update({(source_id, place): ids for place, ids in short.items()})
        found |= added
    return found


def _remembered() -> dict[tuple[str, Place], PlaceIds]:
    remembered: dict[tuple[str, Place], PlaceIds] = current_app.extensions.setdefault("place_ids", {})
    return remembered


def _find_or_add(source_id: str, caller: Caller, wanted: set[Place]) -> dict[Place, PlaceIds]:
    if len(wanted) == 1:
        (place,) = wanted
        if ids := places.find_or_add_one(source_id, caller, place):
            return {place: ids}
    explain_refusal(source_id, caller)
    added = places.find_or_add(source_id, wanted)
    db.session.commit()
    return added


def _record(
    source_id: str, place: PlaceIds, report: dict[str, Any], now: datetime, budget: ValueBudget | None = None
) -> dict[str, Any]:
    limit = current_app.config["BODY_PREVIEW_BYTES"]
    budget = budget or ValueBudget(MAX_HELD_VALUES)
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
        "request_headers": redaction.dump(report["request_headers"], ValueBudget(MAX_HEADER_VALUES)),
        "request_body": redaction.preview(report["request_body"], limit, budget),
        "query_params": redaction.dump(report["query_params"], ValueBudget(MAX_HEADER_VALUES)),
        "response_headers": redaction.dump(report["response_headers"], ValueBudget(MAX_HEADER_VALUES)),
        "response_body": redaction.preview(report["response_body"], limit, budget),
        "created_at": now,
    }


def _event(record: dict[str, Any], place: Place) -> Event:
    _, host, path = place
    at = to_milliseconds(record["created_at"])
    return Event(record["method"], host, path, record["status"], at, record["elapsed_time"], record["id"])
