"""Alerts on the series of traffic sources."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.alerts import MAX_MINUTES
from app.extensions import Base
from app.models.columns import IdentifiedMixin, Identifier, UTCDateTime, same_as_created, utcnow


class Alert(IdentifiedMixin, Base):
    """A condition on a source's series, and whether it is met: see app/alerts.py.

    A dispatcher locks the row to evaluate it, and writes its new state and the message about it in one transaction.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint("kind IN ('errorRate', 'p95', 'silence')", name="kind"),
        CheckConstraint("state IN ('ok', 'firing')", name="state"),
        CheckConstraint("webhook_level IN ('fatal', 'warning', 'info')", name="webhook_level"),
        CheckConstraint(f"minutes BETWEEN 1 AND {MAX_MINUTES}", name="minutes"),
        Index(None, "traffic_source_id"),
        Index(None, "next_evaluation_at"),
    )

    traffic_source_id: Mapped[str] = mapped_column(Identifier, ForeignKey("traffic_sources.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))
    # None for silence, as is min_requests.
    threshold: Mapped[float | None]
    minutes: Mapped[int]
    min_requests: Mapped[int | None]
    webhook_level: Mapped[str] = mapped_column(String(7))
    state: Mapped[str] = mapped_column(String(6), default="ok")
    # The time of the last change of ``state``.
    since: Mapped[datetime] = mapped_column(UTCDateTime, default=same_as_created)
    next_evaluation_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
