"""Schemas of traffic sources and ingest tokens."""

import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields

from app.api.fields import Text, Timestamp
from app.api.schema import Schema, SortedPageQueryArgsSchema, sort_by

_LABEL = r"\w(?:[\w-]{0,61}\w)?"
HOST = re.compile(rf"(?:\[[0-9a-fA-F:.]{{2,45}}\]|(?:{_LABEL}\.){{0,100}}{_LABEL}\.?)(?::[0-9]{{1,5}})?")
MAX_HOST_LENGTH = 260
EXPECTED = "Must be a host name, such as api.payments.com, or an http or https URL."


def _is_host(text: str) -> bool:
    return len(text) <= MAX_HOST_LENGTH and bool(HOST.fullmatch(text))


class TrafficDomain(Text):
    """A host name or an http(s) URL. The host loads in lower case; query and fragment are dropped."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(500, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        domain = super()._deserialize(value, attr, data, **kwargs)
        if _is_host(domain):
            return domain.lower()
        try:
            url = urlsplit(domain)
            valid = url.scheme in ("http", "https") and _is_host(url.netloc) and not re.search(r"\s", domain)
        except ValueError:
            valid = None
        if not valid:
            raise ValidationError(EXPECTED)
        return url._replace(netloc=url.netloc.lower(), query="", fragment="").geturl()


class TrafficSourceSchema(Schema):
    id = fields.String(required=True)
    name = fields.String(required=True, metadata={"example": "Payments API"})
    traffic_domain = fields.String(required=True, metadata={"example": "api.payments.com"})
    user_id = fields.String(required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class NewTrafficSourceSchema(Schema):
    name = Text(100, required=True, metadata={"example": "Payments API"})
    traffic_domain = TrafficDomain(
        required=True, metadata={"example": "api.payments.com", "description": "A host name or an http(s) URL."}
    )


class TrafficSourceChangesSchema(Schema):
    name = Text(100)
    traffic_domain = TrafficDomain()


class TrafficSourceQueryArgsSchema(SortedPageQueryArgsSchema):
    name = Text(100, metadata={"description": "Only sources whose name contains this, in any case.", "minLength": 0})
    sort = sort_by("name", "createdAt", "updatedAt")


class IngestTokenSchema(Schema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    traffic_source_id = fields.String(required=True)
    created_at = Timestamp(required=True)


class IssuedIngestTokenSchema(IngestTokenSchema):
    token = fields.String(required=True, metadata={"description": "Shown only in this answer: keep it."})
    dsn = fields.String(
        required=True,
        metadata={
            "description": "Everything a reporter needs: the token, this service's address and the source's id.",
            "example": "https://ingest_…@traffic.example.com/01980000-0000-7000-8000-000000000000",
        },
    )


class NewIngestTokenSchema(Schema):
    name = Text(100, load_default="ingest token", metadata={"description": "A name to tell tokens apart."})
