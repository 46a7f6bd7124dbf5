"""marshmallow fields that several blueprints share: times, lines of text, numbers, identifiers."""

import re
from datetime import UTC, date, datetime, time
from typing import Any

import marshmallow as ma
import orjson
from marshmallow import fields, validate

from app.json_input import is_json
from app.models.columns import known_id
from app.reported import CONTROL_CHARACTER, METHOD

ISO_8601 = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?P<time>[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


class Timestamp(fields.Field[datetime]):
    """Serialises an aware datetime as ISO 8601 in UTC, with milliseconds and ``Z``."""

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if value else None


class Moment(fields.Field[datetime]):
    """Loads an ISO 8601 date, or date and time, as an aware UTC datetime. Without an offset it is UTC.

    A date alone means its first moment; with ``end_of_day``, its last.
    """

    def __init__(self, end_of_day: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.end_of_day = end_of_day

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        given = ISO_8601.fullmatch(value) if isinstance(value, str) else None
        try:
            if given and given["time"] is None:
                edge = time.max if self.end_of_day else time.min
                return datetime.combine(date.fromisoformat(given["date"]), edge, UTC)
            if given:
                moment = datetime.fromisoformat(given[0])
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ma.ValidationError("Must be an ISO 8601 date or date and time, such as 2025-07-21T14:30:00.000Z.")


class MomentOrMilliseconds(Moment):
    """ISO 8601, or Unix milliseconds. A number outside datetime's range loads as None."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return datetime.fromtimestamp(value / 1000, UTC)
            except (OverflowError, OSError, ValueError):
                return None
        try:
            return super()._deserialize(value, attr, data, **kwargs)
        except ma.ValidationError:
            raise ma.ValidationError(
                "Must be ISO 8601, such as 2025-07-21T14:30:00.000Z, or Unix milliseconds."
            ) from None


class JsonText(fields.String):
    """Serialises text as JSON text: unchanged if it is JSON already, or empty; otherwise as a JSON string."""

    def _serialize(self, value: str, attr: str | None, obj: Any, **kwargs: Any) -> str:  # type: ignore[override]
        return value if not value or is_json(value) else orjson.dumps(value).decode()


class Text(fields.String):
    """One trimmed line of 1 to ``max_length`` characters, without control characters."""

    def __init__(self, max_length: int, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(1, max_length), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if CONTROL_CHARACTER.search(text):
            raise ma.ValidationError("Must not contain control characters.")
        return text.strip()


class Email(Text):
    """An e-mail address; loads in lower case."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(254, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).lower()


class Number(fields.Float):
    """A JSON number; strings are refused."""

    def _validated(self, value: Any) -> float:
        if isinstance(value, str):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Identifier(fields.String):
    """An identifier in a body or query. A malformed one loads as NO_ID, which no row has."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return known_id(super()._deserialize(value, attr, data, **kwargs))


class Method(fields.String):
    """Any HTTP method in any case; loads in lower case."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        method: str = super()._deserialize(value, attr, data, **kwargs)
        if not METHOD.fullmatch(method):
            raise ma.ValidationError("Must be a method: a word of up to 20 letters.")
        return method.lower()
