"""Schemas of webhooks."""

from datetime import datetime, timedelta
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.api.fields import Moment, Timestamp
from app.api.schema import RowSchema, Schema
from app.discord.address import Address, parse_address
from app.models.columns import utcnow
from app.models.traffic import LEVELS

TYPES = ("discord",)
LEVEL = {"description": "Severity level.", "example": "fatal"}
VALUE = {"description": "As it was sent. Only the source's owner sees the token of a URL.", "example": "123456789"}
TYPE = {"description": "Webhook type.", "example": "discord"}


class DiscordAddress(fields.String):
    """A channel ID or a Discord webhook URL; loads as an ``Address``."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Address:  # type: ignore[override]
        try:
            return parse_address(super()._deserialize(value, attr, data, **kwargs))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class FutureTimestamp(Moment):
    """A time in the future, at most ``days`` days ahead."""

    def __init__(self, days: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        moment = super()._deserialize(value, attr, data, **kwargs)
        if not utcnow() < moment <= utcnow() + timedelta(days=self.days):
            raise ValidationError(f"Must be in the future, at most {self.days} days ahead.")
        return moment


def address_field() -> DiscordAddress:
    description = "A Discord channel ID, or a Discord webhook URL."
    return DiscordAddress(required=True, metadata={"description": description, "example": "123456789"})


class WebhookSchema(RowSchema):
    id = fields.String(required=True, metadata={"example": "w1x2y3z4-a5b6-7890-1234-567890abcdef"})
    type = fields.String(required=True, validate=validate.OneOf(TYPES), metadata=TYPE)
    level = fields.String(required=True, validate=validate.OneOf(LEVELS), metadata=LEVEL)
    value = fields.String(
        required=True,
        metadata=VALUE,
    )
    traffic_source_id = fields.String(required=True, metadata={"example": "c1d2e3f4-g5h6-7890-1234-567890abcdef"})
    created_at = Timestamp(required=True, metadata={"example": "2025-07-21T14:30:00.000Z"})
    updated_at = Timestamp(required=True, metadata={"example": "2025-07-21T14:30:00.000Z"})


class TestResultSchema(Schema):
    ok = fields.Boolean(required=True, metadata={"description": "Whether Discord accepted the message."})
    status = fields.Integer(
        required=True, allow_none=True, metadata={"description": "HTTP status of Discord's answer, if one came."}
    )
    discord_code = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Discord's JSON error code, if it gave one."}
    )
    message = fields.String(required=True, metadata={"description": "Discord's answer, and how to fix the problem."})


class WebhookStatusSchema(Schema):
    state = fields.String(required=True, validate=validate.OneOf(["active", "suspended"]))
    reason = fields.String(required=True, allow_none=True, metadata={"description": "Why it is suspended."})
    pending = fields.Integer(required=True, metadata={"description": "Events that are not settled yet."})
    ignored = fields.Integer(required=True, metadata={"description": "Events that the policy ignored."})
    held_back = fields.Integer(
        required=True, metadata={"description": "Events that never reached the policy's threshold."}
    )
    last_delivered_at = Timestamp(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)
    muted_until = Timestamp(required=True, allow_none=True)


class MuteSchema(Schema):
    until = FutureTimestamp(
        days=90, required=True, metadata={"description": "ISO 8601, in the future, at most 90 days ahead."}
    )


class NewWebhookSchema(Schema):
    type = fields.String(required=True, validate=validate.OneOf(TYPES), metadata=TYPE)
    level = fields.String(required=True, validate=validate.OneOf(LEVELS), metadata=LEVEL)
    value = address_field()


class WebhookChangesSchema(Schema):
    type = fields.String(validate=validate.OneOf(TYPES), metadata=TYPE)
    level = fields.String(validate=validate.OneOf(LEVELS), metadata=LEVEL)
    value = address_field()
