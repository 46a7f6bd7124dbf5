"""Column types, identifiers (UUID version 7), defaults and mixins that the tables share."""

import re
from datetime import UTC, datetime
from typing import Any

import uuid_utils
from sqlalchemy import DateTime, Dialect, String, TypeDecorator, Uuid
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import keyring

Identifier = Uuid(as_uuid=False)
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NO_ID = "00000000-0000-0000-0000-000000000000"


def new_id() -> str:
    """A new UUID version 7, which sorts by creation time."""
    return str(uuid_utils.uuid7())


def id_made_at(moment: datetime) -> str:
    """A new identifier that sorts by ``moment`` instead of now."""
    return str(uuid_utils.uuid7(nanoseconds=round(moment.timestamp() * 1000) * 1_000_000))


def known_id(value: str) -> str:
    """``value`` if it is a well-formed identifier, otherwise NO_ID, which no row has."""
    return value if UUID.fullmatch(value) else NO_ID


def first_id_at(moment: datetime) -> str:
    """The smallest identifier of ``moment``, to compare ids by time."""
    digits = f"{round(moment.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


def utcnow() -> datetime:
    """Now as an aware UTC datetime in whole milliseconds, the precision that the API shows."""
    return in_milliseconds(datetime.now(UTC))


def minute_at(moment: datetime) -> int:
    """The minute of ``moment``, counted from 1970."""
    return int(moment.timestamp()) // 60


def in_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def same_as_created(context: DefaultExecutionContext) -> datetime:
    """Default of ``updated_at``: the ``created_at`` of the same row."""
    moment: datetime = context.get_current_parameters()["created_at"]  # type: ignore[no-untyped-call]
    return moment


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite, which has no time zones, stores it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class EncryptedString(TypeDecorator[str]):
    """Text that is stored encrypted. Reads as empty if none of ENCRYPTION_KEYS decrypts it."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else keyring.encrypt(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        return None if value is None else keyring.decrypt(value) or ""


class IdentifiedMixin:
    id: Mapped[str] = mapped_column(Identifier, primary_key=True, default=new_id, sort_order=-2)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow, sort_order=-1)


class TimestampedMixin(IdentifiedMixin):
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=same_as_created, onupdate=utcnow)
