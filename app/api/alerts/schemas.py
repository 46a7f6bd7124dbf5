"""Schemas of alerts."""

from typing import Any

from marshmallow import ValidationError, fields, post_load, validate

from app.alerts import KINDS, MAX_MINUTES
from app.api.fields import Number, Timestamp
from app.api.schema import Schema
from app.latencies import BOUNDS
from app.models.traffic import LEVELS

MAX_REQUESTS = 1_000_000
HIGHEST = {"errorRate": 100, "p95": BOUNDS[-1]}
NOT_FOR_SILENCE = "Without meaning for `silence`, and null there; required for the others."

KIND = {
    "description": "`errorRate`: per cent of `fatal` among all records. `p95`: percentile 95 of the elapsed time."
    " `silence`: no record at all, though the source reported before.",
    "example": "errorRate",
}
THRESHOLD = {
    "description": "The value at which the alert fires: above 0, up to 100 per cent for `errorRate`, up to"
    f" {HIGHEST['p95']:,.0f} milliseconds for `p95`. Below 80 % of it the alert is over. {NOT_FOR_SILENCE}",
    "example": 5,
    "exclusiveMinimum": 0,
    "maximum": HIGHEST["p95"],
}
MINUTES = {"description": "The whole minutes up to now whose records count.", "example": 5}
MIN_REQUESTS = {
    "description": f"A value over fewer records neither fires nor ends the alert. {NOT_FOR_SILENCE}",
    "example": 20,
}
LEVEL = {
    "description": "The source's webhook of this level gets the messages; if there is none, nobody does.",
    "example": "fatal",
}


def one_of(choices: tuple[str, ...], metadata: dict[str, Any]) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(choices), metadata=metadata)


class NewAlertSchema(Schema):
    kind = one_of(KINDS, KIND)
    threshold = Number(load_default=None, allow_none=True, metadata=THRESHOLD)
    minutes = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_MINUTES), metadata=MINUTES)
    min_requests = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(0, MAX_REQUESTS),
        metadata=MIN_REQUESTS,
    )
    webhook_level = one_of(LEVELS, LEVEL)

    @post_load
    def suit_kind(self, alert: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Require what the kind needs, and drop what has no meaning for it."""
        if alert["kind"] == "silence":
            return alert | {"threshold": None, "min_requests": None}
        highest = HIGHEST[alert["kind"]]
        if alert["threshold"] is None or not 0 < alert["threshold"] <= highest:
            raise ValidationError(f"Must be a number above 0, up to {highest:,.0f}, for this kind.", "threshold")
        if alert["min_requests"] is None:
            raise ValidationError(f"Must be a number from 0 to {MAX_REQUESTS:,} for this kind.", "minRequests")
        return alert


class AlertSchema(Schema):
    id = fields.String(required=True)
    kind = one_of(KINDS, KIND)
    threshold = fields.Float(required=True, allow_none=True, metadata=THRESHOLD)
    minutes = fields.Integer(required=True, metadata=MINUTES)
    min_requests = fields.Integer(required=True, allow_none=True, metadata=MIN_REQUESTS)
    webhook_level = one_of(LEVELS, LEVEL)
    state = fields.String(required=True, validate=validate.OneOf(["ok", "firing"]))
    since = Timestamp(required=True, metadata={"description": "When `state` became what it is."})
