"""Schemas of policies."""

from collections.abc import Callable
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from app.api.fields import Method
from app.api.schema import Schema
from app.discord.address import MAX_SNOWFLAKE
from app.policies import MAX_THRESHOLD_EVENTS, status_range
from app.reported import CONTROL_CHARACTER

MAX_RULES = 50
MAX_GLOB_LENGTH = 200
MAX_STARS = 5
# SQL looks for what follows an asterisk at each place of the path, which takes time by the product of both lengths.
MAX_SEARCHED_LENGTH = 750
HOUR_SECONDS, WEEK_SECONDS = 3_600, 604_800


def glob(value: str) -> None:
    if not 0 < len(value) <= MAX_GLOB_LENGTH or CONTROL_CHARACTER.search(value):
        raise ValidationError(f"Must be a text of 1 to {MAX_GLOB_LENGTH} characters without control characters.")
    if value.count("*") > MAX_STARS:
        raise ValidationError(f"May have at most {MAX_STARS} asterisks.")


def rules(value: list[dict[str, str]]) -> None:
    if len(value) > MAX_RULES:
        raise ValidationError(f"May have at most {MAX_RULES} rules.")
    if sum(len(rule.get("pathname", "").partition("*")[2]) for rule in value) > MAX_SEARCHED_LENGTH:
        limit = f"at most {MAX_SEARCHED_LENGTH} characters after their first asterisk"
        raise ValidationError(f"The pathnames of all rules together may have {limit}.")


def status(value: str) -> None:
    try:
        status_range(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def role(value: str) -> None:
    if not (value.isascii() and value.isdigit() and 0 < int(value[:21]) <= MAX_SNOWFLAKE):
        raise ValidationError("Must be the id of a Discord role: 1 to 20 digits.")


class RuleSchema(Schema):
    """Ignores the events that meet all of the conditions given; at least one is."""

    method = Method(metadata={"description": "A method, in any case.", "example": "get"})
    pathname = fields.String(
        validate=glob, metadata={"description": "The whole path; `*` stands for any text.", "example": "/health*"}
    )
    status = fields.String(validate=status, metadata={"description": "`404`, `4xx` or `400-403`.", "example": "4xx"})

    @validates_schema
    def name_one(self, data: dict[str, Any], **kwargs: Any) -> None:
        if not data:
            raise ValidationError("Must name a method, a pathname or a status.")


class ThresholdSchema(Schema):
    events = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_THRESHOLD_EVENTS))
    seconds = fields.Integer(required=True, strict=True, validate=validate.Range(1, HOUR_SECONDS))


class MentionSchema(Schema):
    role_id = fields.String(required=True, validate=role, metadata={"example": "123456789"})


def optional(schema: Callable[[], Schema], description: str) -> fields.Nested:
    return fields.Nested(schema, load_default=None, allow_none=True, metadata={"description": description})


class PolicySchema(Schema):
    """What becomes a message. A field that is not given is empty."""

    ignore = fields.List(
        fields.Nested(RuleSchema),
        load_default=list,
        validate=rules,
        metadata={"description": "Events that meet one of these rules make no message; their records are kept."},
    )
    threshold = optional(
        ThresholdSchema,
        "No message is sent until so many events came within so many seconds; then all of them in one, and further ones"
        " as usual until the incident is over.",
    )
    mention = optional(MentionSchema, "The role that an incident's first message, and each reminder, pings.")
    remind_after_seconds = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(60, WEEK_SECONDS, error="Must be from 60 seconds, a minute, to 604800, a week."),
        metadata={"description": "While an incident goes on, at most one message in this time says so."},
    )
