"""Schemas of reports and of stored records."""

import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate, validates_schema

from app.api.fields import (
    Identifier,
    JsonText,
    Method,
    Moment,
    MomentOrMilliseconds,
    Number,
    Text,
    Timestamp,
)
from app.api.schema import ReportSchema, RowSchema, Schema, SortedPageQueryArgsSchema, sort_by
from app.models.traffic import LEVELS
from app.reported import CONTROL_CHARACTER, MAX_HOST_LENGTH, METHOD, as_path, as_user_id

PROTOCOLS = ("http", "https")
# WebSocket schemes, reported as the HTTP scheme that they upgrade.
WEBSOCKETS = {"ws": "http", "wss": "https"}
PREVIEW = {"description": "Empty or JSON text; a text of another kind, and what was cut, is a JSON string."}
MAX_REPORT_ID_LENGTH = 64
MAX_PART_LENGTH = 500
MAX_SORTED = 10_000


class Protocol(fields.String):
    """``http`` or ``https`` in any case. ``ws`` and ``wss`` load as ``http`` and ``https``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.OneOf(PROTOCOLS), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        word = super()._deserialize(value, attr, data, **kwargs).lower()
        return WEBSOCKETS.get(word, word)


class Origin(fields.String):
    """An http or https URL, whose scheme and host are kept. ``ws`` and ``wss`` load as ``http`` and ``https``."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        scheme, _, rest = text.partition(":")
        protocol = WEBSOCKETS.get(scheme.lower(), scheme.lower())
        try:
            url = urlsplit(f"{protocol}:{rest}")
            valid = (
                url.scheme in PROTOCOLS
                and url.hostname
                and len(url.netloc.lower()) <= MAX_HOST_LENGTH
                and url.port != 0
            )
        except ValueError:
            valid = False
        if not valid or re.search(r"[\s\x00-\x1f\x7f]", text):
            raise ValidationError("Must be an http or https URL, such as https://api.payments.com.")
        return f"{protocol}:{rest}"


class Pathname(fields.String):
    """A path. A missing first slash is added, and control characters become U+FFFD."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return as_path(super()._deserialize(value, attr, data, **kwargs))


class UserId(fields.String):
    """The application's id of the user who made the request, truncated to MAX_USER_ID_LENGTH."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return as_user_id(super()._deserialize(value, attr, data, **kwargs))


class ReportId(fields.String):
    """The client's own id of a report, without control characters."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        report_id: str = super()._deserialize(value, attr, data, **kwargs)
        if not 0 < len(report_id) <= MAX_REPORT_ID_LENGTH or CONTROL_CHARACTER.search(report_id):
            raise ValidationError(
                f"Must be a text of 1 to {MAX_REPORT_ID_LENGTH} characters without control characters."
            )
        return report_id


def json_value(description: str, **metadata: Any) -> fields.Raw:
    """Any JSON value, or a string that holds JSON: reporters use both forms."""
    return fields.Raw(load_default=None, allow_none=True, metadata={"description": description, **metadata})


def part(description: str) -> Text:
    """A query parameter that is a part of a text."""
    return Text(MAX_PART_LENGTH, metadata={"description": description, "minLength": 0})


def headers(side: str) -> fields.Raw:
    description = f"Headers of the {side}, as JSON or as a string that holds JSON. Secrets are redacted."
    return json_value(description, example={"content-type": "application/json"})


def body(side: str) -> fields.Raw:
    return json_value(f"Body of the {side}: any JSON value or text. A preview is kept.")


class NewTrafficRecordSchema(ReportSchema):
    """One report. Unknown fields are ignored."""

    domain_url = Origin(required=True, metadata={"example": "https://api.payments.com"})
    pathname_url = Pathname(required=True, metadata={"example": "/orders/123"})
    status = fields.Integer(required=True, strict=True, validate=validate.Range(100, 999), metadata={"example": 500})
    protocol = Protocol(required=True, metadata={"example": "https"})
    method = Method(
        required=True,
        metadata={"description": "Any method, in any case.", "pattern": f"^{METHOD.pattern}$", "example": "get"},
    )
    traffic_user_id = UserId(load_default=None, allow_none=True)
    elapsed_time = Number(
        required=True,
        validate=validate.Range(0),
        metadata={"description": "Milliseconds, may be fractional.", "example": 12.5},
    )
    request_headers = headers("request")
    request_body = body("request")
    query_params = json_value("Query parameters. Secrets are redacted.", example={"page": "1"})
    response_headers = headers("response")
    response_body = body("response")
    occurred_at = MomentOrMilliseconds(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "When the request was made: ISO 8601, or Unix milliseconds. It becomes the record's"
            " `createdAt` if it is at most a day ago; otherwise the time of arrival does.",
            "example": "2025-07-21T14:30:00.000Z",
        },
    )
    report_id = ReportId(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Your own id of this report. A report with a known id is neither stored nor sent again.",
            "minLength": 1,
            "maxLength": MAX_REPORT_ID_LENGTH,
        },
    )


class IngestLogSchema(NewTrafficRecordSchema):
    """A report as arkyn's SDK sends it, with its traffic source in the body."""

    traffic_source_id = Identifier(required=True)


class RejectedSchema(Schema):
    index = fields.Integer(required=True, metadata={"description": "Place in the batch, from 0."})
    errors = fields.Dict(keys=fields.String(), required=True, metadata={"description": "Field, messages."})


class BatchResultSchema(Schema):
    accepted = fields.Integer(required=True, metadata={"description": "Records stored."})
    repeated = fields.Integer(required=True, metadata={"description": "Records that were stored before."})
    rejected = fields.List(fields.Nested(RejectedSchema), required=True)


class TrafficSchema(RowSchema):
    """A record in a list, without headers and bodies."""

    id = fields.String(required=True)
    status = fields.Integer(required=True)
    method = fields.String(required=True)
    level = fields.String(required=True, validate=validate.OneOf(LEVELS))
    elapsed_time = fields.Float(required=True)
    traffic_user_id = fields.String(required=True, allow_none=True)
    traffic_source_id = fields.String(required=True)
    domain_id = fields.String(required=True)
    pathname_id = fields.String(required=True)
    request_id = fields.String(required=True)
    response_id = fields.String(required=True)
    created_at = Timestamp(required=True)


class TrafficRequestSchema(Schema):
    headers = fields.String(required=True, attribute="request_headers")
    body_preview = JsonText(required=True, attribute="request_body", metadata=PREVIEW)
    body_url = fields.Constant("", required=True)
    query_params = fields.String(required=True)
    created_at = Timestamp(required=True)


class TrafficResponseSchema(Schema):
    headers = fields.String(required=True, attribute="response_headers")
    body_preview = JsonText(required=True, attribute="response_body", metadata=PREVIEW)
    body_url = fields.Constant("", required=True)
    created_at = Timestamp(required=True)


class TrafficRecordSchema(Schema):
    id = fields.String(required=True, attribute="TrafficRecord.id")
    status = fields.Integer(required=True, attribute="TrafficRecord.status")
    method = fields.String(required=True, attribute="TrafficRecord.method")
    level = fields.String(required=True, attribute="TrafficRecord.level", validate=validate.OneOf(LEVELS))
    protocol = fields.String(required=True, attribute="TrafficRecord.protocol")
    elapsed_time = fields.Float(required=True, attribute="TrafficRecord.elapsed_time")
    traffic_user_id = fields.String(required=True, allow_none=True, attribute="TrafficRecord.traffic_user_id")
    traffic_source_id = fields.String(required=True, attribute="TrafficRecord.traffic_source_id")
    domain = fields.URL(required=True, attribute="Domain.url")
    pathname = fields.String(required=True)
    request = fields.Nested(TrafficRequestSchema, required=True, dump_only=True, attribute="TrafficRecord")
    response = fields.Nested(TrafficResponseSchema, required=True, dump_only=True, attribute="TrafficRecord")
    created_at = Timestamp(required=True, attribute="TrafficRecord.created_at")


class RecordQueryArgsSchema(SortedPageQueryArgsSchema):
    sort = sort_by("createdAt", "elapsedTime", "status", "method", "level")
    id = Identifier()
    level = fields.String(validate=validate.OneOf(LEVELS))
    method = Method()
    protocol = fields.String(validate=validate.OneOf(PROTOCOLS))
    status = fields.Integer(validate=validate.Range(100, 999))
    domain_id = Identifier()
    pathname_id = Identifier()
    start_date = Moment(metadata={"description": "Not before this ISO 8601 date or date and time."})
    end_date = Moment(end_of_day=True, metadata={"description": "Not after this ISO 8601 date or date and time."})

    @validates_schema
    def sorted_pages_are_bounded(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Only the order of arrival has an index: far pages of any other would sort millions of records."""
        if data["sort"] != "createdAt" and data["page"] * data["page_limit"] > MAX_SORTED:
            raise ValidationError(
                f"Only the first {MAX_SORTED:,} records are listed in this order. Sort by createdAt, or filter.", "page"
            )


class TrafficQueryArgsSchema(RecordQueryArgsSchema):
    method = Method(metadata={"description": "If not given: GET, POST, PUT, PATCH and DELETE."})


class WholeRecordQueryArgsSchema(RecordQueryArgsSchema):
    pathname = part("Only records whose path contains this, in any case.")


class PathnameQueryArgsSchema(SortedPageQueryArgsSchema):
    sort = sort_by("value", "createdAt")
    value = part("Only values that contain this, in any case.")


class DomainQueryArgsSchema(PathnameQueryArgsSchema):
    sort = sort_by("value", "protocol", "createdAt")
    protocol = fields.String(validate=validate.OneOf(PROTOCOLS))


class DomainSchema(Schema):
    id = fields.String(required=True)
    value = fields.String(required=True, metadata={"example": "api.payments.com"})
    protocol = fields.String(required=True, metadata={"example": "https"})
    traffic_source_id = fields.String(required=True)
    created_at = Timestamp(required=True)


class PathnameSchema(Schema):
    id = fields.String(required=True)
    value = fields.String(required=True, metadata={"example": "/orders/123"})
    domain_id = fields.String(required=True)
    traffic_source_id = fields.String(required=True)
    created_at = Timestamp(required=True)
