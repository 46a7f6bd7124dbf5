"""Traffic records, and the domains and pathnames that they refer to."""

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.arrival import NextArrival
from app.models.columns import IdentifiedMixin, Identifier, new_id

LEVELS = ("fatal", "warning", "info")


class Domain(IdentifiedMixin, Base):
    """A scheme and host of a traffic source's records."""

    __tablename__ = "domains"
    __table_args__ = (UniqueConstraint("traffic_source_id", "value", "protocol"),)

    value: Mapped[str] = mapped_column(String(260))
    protocol: Mapped[str] = mapped_column(String(5))
    traffic_source_id: Mapped[str] = mapped_column(Identifier, ForeignKey("traffic_sources.id", ondelete="CASCADE"))

    @property
    def url(self) -> str:
        return f"{self.protocol}://{self.value}"


class Pathname(IdentifiedMixin, Base):
    """A path of a domain's records."""

    __tablename__ = "pathnames"
    __table_args__ = (UniqueConstraint("domain_id", "value"),)

    value: Mapped[str] = mapped_column(Text)
    domain_id: Mapped[str] = mapped_column(Identifier, ForeignKey("domains.id", ondelete="CASCADE"))


class TrafficRecord(IdentifiedMixin, Base):
    """The stored report of one request. ``created_at`` is the request's time, ``elapsed_time`` in milliseconds.

    Headers, parameters and body previews are redacted text. Ids sort by ``created_at``, so indexes that end in ``id``
    list records by time.
    """

    __tablename__ = "http_traffic_records"
    __table_args__ = (
        # The columns after the id let a list be counted, filtered and sorted without reading the records.
        Index(
            "ix_http_traffic_records_listed",
            "traffic_source_id",
            "id",
            "method",
            "status",
            "level",
            "elapsed_time",
        ),
        Index(None, "pathname_id", "id"),
        Index(None, "arrival"),
        Index(
            "ix_http_traffic_records_report_id",
            "traffic_source_id",
            "report_id",
            unique=True,
            sqlite_where=text("report_id IS NOT NULL"),
            postgresql_where=text("report_id IS NOT NULL"),
        ),
    )

    # Redundant with the pathname's source, for the index; a foreign key would repeat the pathname's check.
    traffic_source_id: Mapped[str] = mapped_column(Identifier)
    pathname_id: Mapped[str] = mapped_column(Identifier, ForeignKey("pathnames.id", ondelete="CASCADE"))
    status: Mapped[int] = mapped_column(SmallInteger)
    level: Mapped[str] = mapped_column(String(7))
    protocol: Mapped[str] = mapped_column(String(5))
    method: Mapped[str] = mapped_column(String(20))
    elapsed_time: Mapped[float]
    traffic_user_id: Mapped[str | None] = mapped_column(String(255))
    request_id: Mapped[str] = mapped_column(Identifier, default=new_id)
    response_id: Mapped[str] = mapped_column(Identifier, default=new_id)
    request_headers: Mapped[str] = mapped_column(Text)
    request_body: Mapped[str] = mapped_column(Text)
    query_params: Mapped[str] = mapped_column(Text)
    response_headers: Mapped[str] = mapped_column(Text)
    response_body: Mapped[str] = mapped_column(Text)
    # The client's own id, by which a repeated report is recognised.
    report_id: Mapped[str | None] = mapped_column(String(64))
    # The order of arrival, by which dispatchers know what the series lack: ids sort by the request's time. A record of
    # an existing source is deleted only once it is counted.
    arrival: Mapped[int] = mapped_column(BigInteger, default=NextArrival())
