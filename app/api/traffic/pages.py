"""Writes pages of whole records."""

from collections.abc import Callable, Iterator

import orjson
from flask import Response, current_app
from flask.ctx import AppContext

from app.api.schema import PageMetaSchema
from app.api.traffic.schemas import TrafficRecordSchema
from app.errors import RecordNotFound
from app.repositories import traffic
from app.repositories.base import Page

RECORD = TrafficRecordSchema()
META = PageMetaSchema()


def whole_records(summaries: Page) -> Response:
    """The records of a page of summaries. Each is read when its turn comes.

    A record may take 200 KB: a hundred at a time, for clients that read slowly, would fill a worker's memory.
    """
    return Response(_parts(summaries, current_app.app_context), mimetype="application/json")


def _parts(page: Page, context: Callable[[], AppContext]) -> Iterator[bytes]:
    yield b'{"data":['
    separator = b""
    for summary in page.items:
        # A context for each, which ends with the session: hold no connection, and no record, while the client reads.
        with context():
            text = _record(summary["id"])
        if text:
            yield separator + text
            separator = b","
    yield b'],"meta":' + orjson.dumps(META.dump(page)) + b"}"


def _record(record_id: str) -> bytes:
    """Empty for a record that was deleted meanwhile."""
    try:
        return orjson.dumps(RECORD.dump(traffic.get(record_id)))
    except RecordNotFound:
        return b""
