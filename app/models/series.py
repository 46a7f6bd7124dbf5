"""The series of traffic sources: records counted by time, which outlive the records."""

from sqlalchemy import BigInteger, Index, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import Identifier

# The lengths of a point, in minutes.
SPANS = (1, 5, 30)


class SeriesPoint(Base):
    """The records of one source in one period, counted by level and by latency.

    Each record counts in one point of each length of SPANS, so that a chart of weeks reads few rows. Each writer of
    points holds the lock of SeriesPosition.
    """

    __tablename__ = "series_points"
    __table_args__ = (Index(None, "minute"),)

    # A foreign key would be checked for each point; purging deletes the points before their source.
    traffic_source_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    # One of SPANS.
    span: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    # The first minute of the period, counted from 1970: an integer is fast to read.
    minute: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fatal: Mapped[int]
    warning: Mapped[int]
    info: Mapped[int]
    # JSON: see app/latencies.py.
    latencies: Mapped[str] = mapped_column(Text)


class SeriesPosition(Base):
    """One row: all records whose ``arrival`` is not above ``counted_to`` are counted in the series, the others not."""

    __tablename__ = "series_position"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    counted_to: Mapped[int] = mapped_column(BigInteger)
