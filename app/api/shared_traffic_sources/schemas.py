"""Schemas of shares."""

from marshmallow import fields, validate

from app.api.fields import Email, Identifier, Timestamp
from app.api.schema import PageQueryArgsSchema, Schema
from app.api.traffic_sources.schemas import TrafficSourceSchema
from app.models.share import PERMISSIONS, STATUSES

PERMISSION = {
    "description": "`readOnly`: may read; `editor`: may also change webhooks, policies and alerts.",
    "example": "readOnly",
}


class ShareSchema(Schema):
    id = fields.String(required=True)
    user_id = fields.String(required=True, metadata={"description": "The owner of the traffic source."})
    shared_with_id = fields.String(required=True, metadata={"description": "The invited user."})
    traffic_source = fields.Nested(TrafficSourceSchema, required=True)
    permission = fields.String(required=True, validate=validate.OneOf(PERMISSIONS), metadata=PERMISSION)
    status = fields.String(
        required=True,
        validate=validate.OneOf(STATUSES),
        metadata={"description": "Only an accepted share gives access."},
    )
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class NewShareSchema(Schema):
    traffic_source_id = Identifier(required=True)
    user_email = Email(required=True, metadata={"example": "bob@example.com"})
    permission = fields.String(load_default="readOnly", validate=validate.OneOf(PERMISSIONS), metadata=PERMISSION)


class ShareChangesSchema(Schema):
    permission = fields.String(required=True, validate=validate.OneOf(PERMISSIONS), metadata=PERMISSION)


class ShareQueryArgsSchema(PageQueryArgsSchema):
    traffic_source_id = Identifier(
        metadata={"description": "The shares of this source of yours, instead of those with you."}
    )
