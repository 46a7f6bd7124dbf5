"""Schemas of the series."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate

from app.api.fields import MomentOrMilliseconds, Timestamp
from app.api.schema import QueryArgsSchema, Schema
from app.models.columns import utcnow

MILLISECONDS = re.compile(r"[0-9]{1,16}")
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
MAX_STEPS = 1_500
MAX_STEP_SECONDS = 366 * 86_400
RANGE = timedelta(hours=1)


class SeriesMoment(MomentOrMilliseconds):
    """A time in a query, where Unix milliseconds are text, too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        is_number = isinstance(value, str) and MILLISECONDS.fullmatch(value)
        moment = super()._deserialize(int(value) if is_number else value, attr, data, **kwargs)
        if moment is None or not EARLIEST <= moment < LATEST:
            raise ValidationError("Must be a time from the year 1970 to 8999.")
        return moment  # type: ignore[no-any-return]


STEP_EXPECTED = f"Must be 60 or a multiple of it, up to {MAX_STEP_SECONDS:,}."


def multiple_of_a_minute(step: int) -> None:
    if not 60 <= step <= MAX_STEP_SECONDS or step % 60:
        raise ValidationError(STEP_EXPECTED)


class SeriesQueryArgsSchema(QueryArgsSchema):
    from_ = SeriesMoment(
        data_key="from",
        metadata={"description": "ISO 8601, or Unix milliseconds. If not given: an hour before `to`."},
    )
    to = SeriesMoment(metadata={"description": "ISO 8601, or Unix milliseconds. If not given: now."})
    step = fields.Integer(
        load_default=60,
        validate=multiple_of_a_minute,
        error_messages={"invalid": STEP_EXPECTED},
        metadata={
            "description": f"Seconds of a step: 60 or a multiple of it. At most {MAX_STEPS:,} steps from `from` to"
            " `to`. Steps are counted from 1970-01-01T00:00:00Z.",
            "minimum": 60,
            "maximum": MAX_STEP_SECONDS,
            "multipleOf": 60,
        },
    )

    @post_load
    def complete(self, query: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """``start``, ``end`` and ``step_seconds``."""
        end, step = query.get("to") or utcnow(), query["step"]
        start = query.get("from_") or end - RANGE
        if start >= end:
            raise ValidationError("Must be before `to`, which is now if it is not given.", "from")
        if end - start > MAX_STEPS * timedelta(seconds=step):
            least = -(-(end - start) // (MAX_STEPS * timedelta(minutes=1))) * 60
            raise ValidationError(
                f"Must be {least} or more for this time: a series has at most {MAX_STEPS:,} steps.", "step"
            )
        return {"start": start, "end": end, "step_seconds": step}


def _count(level: str) -> fields.Integer:
    return fields.Integer(
        required=True, validate=validate.Range(0), metadata={"description": f"Records of level {level}."}
    )


def _percentile(number: int) -> fields.Float:
    description = f"Percentile {number} of the elapsed time, in milliseconds; null if there is no record."
    return fields.Float(required=True, allow_none=True, metadata={"description": description, "example": 12.5})


class SeriesStepSchema(Schema):
    at = Timestamp(required=True, metadata={"description": "Where the step begins."})
    fatal = _count("fatal")
    warning = _count("warning")
    info = _count("info")
    p50 = _percentile(50)
    p95 = _percentile(95)
