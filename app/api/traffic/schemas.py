import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate

from app.api.base import BulkSchema, PageQueryArgsSchema, Schema
from app.api.fields import CONTROL_CHARACTER, Identifier, Moment, Number, Text, Timestamp
from app.models.traffic import LEVELS
from app.redaction import decode_held_json

METHODS = ("get", "post", "put", "delete", "patch")
PROTOCOLS = ("http", "https")
MAX_HOST = 260
# OpenAPI's words for what HeldJson takes.
HELD_JSON = {"type": ["object", "array", "string"], "items": {}}


class LowerCase(fields.String):
    """One of a few words, in either case."""

    def __init__(self, words: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(validate=validate.OneOf(words), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).lower()


class HeldJson(fields.Raw):
    """An object or array, or a string that holds one as JSON: reporters use both forms."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            decoded = decode_held_json(value)
        except ValueError:
            decoded = value
        if not isinstance(decoded, dict | list | None):
            raise ValidationError("Must be a JSON object, or a string that holds one.")
        return decoded


def http_origin(value: str) -> None:
    try:
        url = urlsplit(value)
        valid = url.scheme in PROTOCOLS and url.hostname and len(url.netloc.lower()) <= MAX_HOST and url.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"[\s\x00-\x1f\x7f]", value):
        raise ValidationError("Must be an http or https URL, such as https://api.payments.com.")


def absolute_path(value: str) -> None:
    if not value.startswith("/") or CONTROL_CHARACTER.search(value):
        raise ValidationError("Must be a path that starts with / and has no control characters.")


def headers(side: str) -> HeldJson:
    return HeldJson(
        required=True,
        metadata={
            **HELD_JSON,
            "description": f"Headers of the {side}, as JSON or as a string that holds JSON. Secrets are redacted.",
            "example": {"content-type": "application/json"},
        },
    )


def body(side: str) -> fields.Raw:
    return fields.Raw(
        load_default=None,
        allow_none=True,
        metadata={"description": f"Body of the {side}: any JSON value or text. A preview is kept."},
    )


class NewTrafficRecordSchema(BulkSchema):
    """One reported request. Unknown fields are ignored."""

    domain_url = fields.String(required=True, validate=http_origin, metadata={"example": "https://api.payments.com"})
    pathname_url = fields.String(required=True, validate=absolute_path, metadata={"example": "/orders/123"})
    status = fields.Integer(required=True, strict=True, validate=validate.Range(100, 599), metadata={"example": 500})
    protocol = LowerCase(PROTOCOLS, required=True, metadata={"example": "https"})
    method = LowerCase(METHODS, required=True, metadata={"example": "get"})
    traffic_user_id = Text(255, load_default=None, allow_none=True)
    elapsed_time = Number(
        required=True,
        validate=validate.Range(0),
        metadata={"description": "Milliseconds, may be fractional.", "example": 12.5},
    )
    request_headers = headers("request")
    request_body = body("request")
    query_params = HeldJson(required=True, metadata={**HELD_JSON, "example": {"page": "1"}})
    response_headers = headers("response")
    response_body = body("response")


class IngestLogSchema(NewTrafficRecordSchema):
    traffic_source_id = Identifier(required=True)


class AcceptedSchema(Schema):
    accepted = fields.Integer(required=True)


class TrafficSchema(Schema):
    """A record in a list."""

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
    body_preview = fields.String(required=True, attribute="request_body")
    body_url = fields.Constant("", required=True)
    query_params = fields.String(required=True)
    created_at = Timestamp(required=True)


class TrafficResponseSchema(Schema):
    headers = fields.String(required=True, attribute="response_headers")
    body_preview = fields.String(required=True, attribute="response_body")
    body_url = fields.Constant("", required=True)
    created_at = Timestamp(required=True)


class TrafficRecordSchema(Schema):
    """A record whole."""

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


class TrafficQueryArgsSchema(PageQueryArgsSchema):
    level = fields.String(validate=validate.OneOf(LEVELS))
    method = LowerCase(METHODS)
    status = fields.Integer(validate=validate.Range(100, 599))
    domain_id = Identifier()
    pathname_id = Identifier()
    start_date = Moment(metadata={"description": "Not before this ISO 8601 date or date and time."})
    end_date = Moment(end_of_day=True, metadata={"description": "Not after this ISO 8601 date or date and time."})


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
