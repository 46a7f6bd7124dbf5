"""The database's clock, for leases, due times and heartbeats: the clocks of hosts may differ."""

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import cast

from sqlalchemy import text

from app.extensions import db
from app.models.columns import utcnow


def database_now() -> datetime:
    """Now, as an aware UTC datetime. For SQLite, whose processes share one host, the host's clock."""
    if not db.is_postgresql:
        return utcnow()
    return cast(datetime, db.session.scalar(text("SELECT clock_timestamp()"))).astimezone(UTC)


class DatabaseClock:
    """The database's clock, read once and advanced by this host's monotonic clock."""

    def __init__(self) -> None:
        self._read_at = 0.0
        self._read: datetime | None = None

    def synchronise(self) -> None:
        """Read the database's clock, in one round trip."""
        self._read, self._read_at = database_now(), monotonic()

    def __call__(self) -> datetime:
        if self._read is None:
            self.synchronise()
        now = cast(datetime, self._read) + timedelta(seconds=monotonic() - self._read_at)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)
