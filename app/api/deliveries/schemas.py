"""Schemas of deliveries and their attempts."""

from marshmallow import fields, validate

from app.api.fields import Timestamp
from app.api.schema import PageQueryArgsSchema, Schema
from app.models.delivery import STATES


class DeliverySchema(Schema):
    id = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))
    event_count = fields.Integer(required=True, metadata={"description": "Events that the message counts."})
    attempts = fields.Integer(required=True)
    next_attempt_at = Timestamp(required=True, allow_none=True, attribute="due_at")
    last_error = fields.String(required=True, allow_none=True)
    message_id = fields.String(required=True, allow_none=True, metadata={"description": "The message in Discord."})
    created_at = Timestamp(required=True)
    delivered_at = Timestamp(required=True, allow_none=True, attribute="shown_delivered_at")


class AttemptSchema(Schema):
    at = Timestamp(required=True)
    outcome = fields.String(required=True)
    status = fields.Integer(required=True, allow_none=True, metadata={"description": "HTTP status of the answer."})
    discord_code = fields.Integer(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)


class DeliveryQueryArgsSchema(PageQueryArgsSchema):
    state = fields.String(validate=validate.OneOf(STATES))
