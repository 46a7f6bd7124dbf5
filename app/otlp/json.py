"""OTLP as JSON: ids are hexadecimal, enums are numbers, and integers of 64 bits may be texts."""

import re
from collections.abc import Container, Iterator
from functools import partial
from typing import Any, NamedTuple

import orjson

from app.json_input import loads_repaired
from app.otlp.spans import (
    ATTRIBUTES,
    MAX_ATTRIBUTES,
    SERVICE_NAME,
    TOO_MANY_ATTRIBUTES,
    Attribute,
    Span,
    TooManyFields,
    Unreadable,
    Unusable,
)

MIMETYPE = "application/json"
# Commas and brackets are counted before the body is parsed, those within texts included: a usual span has about 60.
MAX_VALUES = 500_000
# The repair of a body takes ten times as long as parsing it. A usual batch has half of this size.
MAX_REPAIRED_BYTES = 1024 * 1024
# Some exporters write the names of enums, which OTLP does not allow.
SERVER = (2, "SPAN_KIND_SERVER")
ERROR = (2, "STATUS_CODE_ERROR")
SCALARS = ("stringValue", "intValue", "doubleValue")
DIGITS = re.compile(r"[0-9]{1,20}")
HEXADECIMAL = re.compile(r"[0-9a-f]+")


class Piece(NamedTuple):
    """A span that is not read yet, and its resource."""

    span: Any
    resource: Any


def split(body: bytes) -> Iterator[Piece]:
    """The spans of a request. Raises Unreadable, TooManyFields."""
    for resource_spans in _array(_loads(body), "resourceSpans"):
        resource = _object(resource_spans).get("resource")
        for scope_spans in _array(resource_spans, "scopeSpans"):
            for span in _array(scope_spans, "spans"):
                yield Piece(span, resource)


def parse(piece: Piece) -> Span | None:
    """The span, or None where its kind is not SERVER. Raises Unusable."""
    span = piece.span
    if not isinstance(span, dict):
        raise Unusable("a span is malformed")
    if span.get("kind") not in SERVER:
        return None
    status = span.get("status")
    return Span(
        trace_id=_id(span.get("traceId"), 32),
        span_id=_id(span.get("spanId"), 16),
        start=_time(span.get("startTimeUnixNano")),
        end=_time(span.get("endTimeUnixNano")),
        is_error=isinstance(status, dict) and status.get("code") in ERROR,
        attributes=_attributes(span.get("attributes"), ATTRIBUTES),
        service_name=partial(_service_name, piece.resource),
    )


def response(rejected: int, message: str) -> bytes:
    partial_success = {"rejectedSpans": str(rejected), "errorMessage": message}
    return orjson.dumps({"partialSuccess": partial_success} if rejected else {})


def _loads(body: bytes) -> Any:
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise TooManyFields
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if len(body) > MAX_REPAIRED_BYTES:
            raise Unreadable from None
        try:
            return loads_repaired(body)
        except ValueError:
            raise Unreadable from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable
    return value


def _array(holder: Any, name: str) -> list[Any]:
    value = _object(holder).get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable
    return value


def _id(value: Any, length: int) -> str:
    text = value.lower() if isinstance(value, str) and len(value) == length else ""
    return text if HEXADECIMAL.fullmatch(text) and text.strip("0") else ""


def _time(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)
    raise Unusable("a time of a span is no number of nanoseconds")


def _service_name(resource: Any) -> str:
    attributes = resource.get("attributes") if isinstance(resource, dict) else None
    try:
        return str(_attributes(attributes, {SERVICE_NAME}).get(SERVICE_NAME, ""))
    except Unusable:
        return ""


def _attributes(given: Any, wanted: Container[str]) -> dict[str, Attribute]:
    if not isinstance(given, list):
        return {}
    if len(given) > MAX_ATTRIBUTES:
        raise Unusable(TOO_MANY_ATTRIBUTES)
    found: dict[str, Attribute] = {}
    for attribute in given:
        if isinstance(attribute, dict) and _is_in(attribute.get("key"), wanted):
            value = _scalar(attribute.get("value"))
            if value is not None:
                found[attribute["key"]] = value
    return found


def _is_in(key: Any, wanted: Container[str]) -> bool:
    return isinstance(key, str) and key in wanted


def _scalar(value: Any) -> Attribute | None:
    """The text or number in an AnyValue; None if it holds anything else."""
    if isinstance(value, dict):
        for kind in SCALARS:
            if isinstance(found := value.get(kind), str | int | float):
                return found
    return None
