from typing import Any

from marshmallow import ValidationError, fields, validate

from app.api.base import Schema, Timestamp
from app.discord.address import Address, parse_address
from app.models.traffic import LEVELS

TYPES = ("discord",)
LEVEL = {"description": "Severity level.", "example": "fatal"}
TYPE = {"description": "Webhook type.", "example": "discord"}


class DiscordAddress(fields.String):
    """A channel ID or a Discord webhook URL."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Address:  # type: ignore[override]
        try:
            return parse_address(super()._deserialize(value, attr, data, **kwargs))
        except ValueError as error:
            raise ValidationError(str(error)) from None


def address_field() -> DiscordAddress:
    description = "A Discord channel ID, or a Discord webhook URL."
    return DiscordAddress(required=True, metadata={"description": description, "example": "123456789"})


class WebhookSchema(Schema):
    id = fields.String(required=True, metadata={"example": "w1x2y3z4-a5b6-7890-1234-567890abcdef"})
    type = fields.String(required=True, validate=validate.OneOf(TYPES), metadata=TYPE)
    level = fields.String(required=True, validate=validate.OneOf(LEVELS), metadata=LEVEL)
    value = fields.String(required=True, metadata={"description": "As it was sent.", "example": "123456789"})
    traffic_source_id = fields.String(required=True, metadata={"example": "c1d2e3f4-g5h6-7890-1234-567890abcdef"})
    created_at = Timestamp(required=True, metadata={"example": "2025-07-21T14:30:00.000Z"})
    updated_at = Timestamp(required=True, metadata={"example": "2025-07-21T14:30:00.000Z"})


class NewWebhookSchema(Schema):
    type = fields.String(required=True, validate=validate.OneOf(TYPES), metadata=TYPE)
    level = fields.String(required=True, validate=validate.OneOf(LEVELS), metadata=LEVEL)
    value = address_field()


class WebhookChangesSchema(Schema):
    type = fields.String(validate=validate.OneOf(TYPES), metadata=TYPE)
    level = fields.String(validate=validate.OneOf(LEVELS), metadata=LEVEL)
    value = address_field()
