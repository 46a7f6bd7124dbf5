"""OTLP as protobuf.

A request is split into its spans by hand, and one span is parsed at a time. Parsed as a whole, two bytes of a hostile
body take up to a hundred of memory, and the parser blocks all other requests of the worker.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from app.greenlets import yielding
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

MIMETYPE = "application/x-protobuf"
# Fields of the messages around spans in one request, the spans included.
MAX_FIELDS = 50_000
MAX_SPAN_BYTES = 262_144
SCALARS = ("string_value", "int_value", "double_value")

# Numbers of fields, by https://github.com/open-telemetry/opentelemetry-proto.
RESOURCE_SPANS = 1
RESOURCE = 1
SCOPE_SPANS = 2
SPANS = 2

# Wire types, by https://protobuf.dev/programming-guides/encoding.
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10


class Piece(NamedTuple):
    """A span that is not parsed yet."""

    span: memoryview
    of: "Origin"


class Origin:
    """The resource of spans, parsed only where one of them needs it."""

    def __init__(self, messages: list[memoryview]) -> None:
        self._messages = messages

    @cached_property
    def service_name(self) -> str:
        if sum(map(len, self._messages)) > MAX_SPAN_BYTES:
            return ""
        try:
            # The parts of a message that comes in parts are merged by joining them.
            resource = Resource.FromString(b"".join(self._messages))
        except DecodeError:
            return ""
        return str(_attributes(resource.attributes[:MAX_ATTRIBUTES], {SERVICE_NAME}).get(SERVICE_NAME, ""))


def split(body: bytes) -> Iterator[Piece]:
    """The spans of a request. Raises Unreadable, TooManyFields."""
    reader = _Reader(MAX_FIELDS)
    for resource_spans in yielding(reader.messages(memoryview(body), RESOURCE_SPANS)):
        fields = list(yielding(reader.fields(resource_spans)))
        origin = Origin([message for number, message in fields if number == RESOURCE])
        for number, scope_spans in fields:
            if number == SCOPE_SPANS:
                for span in reader.messages(scope_spans, SPANS):
                    yield Piece(span, origin)


def parse(piece: Piece) -> Span | None:
    """The span, or None where its kind is not SERVER. Raises Unusable."""
    if len(piece.span) > MAX_SPAN_BYTES:
        raise Unusable("a span is too large")
    try:
        span = trace_pb2.Span.FromString(bytes(piece.span))
    except DecodeError:
        raise Unusable("a span is malformed") from None
    if span.kind != trace_pb2.Span.SPAN_KIND_SERVER:
        return None
    if len(span.attributes) > MAX_ATTRIBUTES:
        raise Unusable(TOO_MANY_ATTRIBUTES)
    return Span(
        trace_id=_id(span.trace_id, 16),
        span_id=_id(span.span_id, 8),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        attributes=_attributes(span.attributes, ATTRIBUTES),
        service_name=lambda: piece.of.service_name,
    )


def response(rejected: int, message: str) -> bytes:
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = message
    return answer.SerializeToString()


def _id(value: bytes, length: int) -> str:
    return value.hex() if len(value) == length and any(value) else ""


def _attributes(given: Iterable[KeyValue], wanted: Iterable[str]) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    for attribute in given:
        if attribute.key in wanted and (kind := attribute.value.WhichOneof("value")) in SCALARS:
            found[attribute.key] = getattr(attribute.value, kind)
    return found


class _Reader:
    """Reads the fields of messages, up to a number over all of them. Raises TooManyFields."""

    def __init__(self, fields: int) -> None:
        self.left = fields

    def messages(self, message: memoryview, number: int) -> Iterator[memoryview]:
        """The values of the fields of this ``number``."""
        return (value for found, value in self.fields(message) if found == number)

    def fields(self, message: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Numbers and values of those fields that may hold messages."""
        at, end = 0, len(message)
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise TooManyFields
            key, at = _varint(message, at)
            if key & 7 == LENGTH_DELIMITED:
                size, begin = _varint(message, at)
                at = begin + size
                if at > end:
                    raise Unreadable
                yield key >> 3, message[begin:at]
            else:
                at = _after_scalar(message, at, key & 7)
        if at > end:
            raise Unreadable


def _after_scalar(message: memoryview, at: int, wire_type: int) -> int:
    if wire_type == VARINT:
        return _varint(message, at)[1]
    if wire_type == FIXED64:
        return at + 8
    if wire_type == FIXED32:
        return at + 4
    raise Unreadable


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise Unreadable
