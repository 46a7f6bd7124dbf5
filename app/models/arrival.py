"""The order in which records arrive."""

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement


class NextArrival(ColumnElement[int]):
    """The default of ``TrafficRecord.arrival``."""

    inherit_cache = True
    type = BigInteger()


@compiles(NextArrival, "postgresql")
def _from_sequence(element: NextArrival, compiler: Any, **kwargs: Any) -> str:
    return "nextval('http_traffic_records_arrival_seq')"


@compiles(NextArrival, "sqlite")
def _after_all(element: NextArrival, compiler: Any, **kwargs: Any) -> str:
    """One above all stored and all counted records: the newest may have been deleted."""
    return (
        "(SELECT 1 + max(coalesce((SELECT max(arrival) FROM http_traffic_records), 0),"
        " coalesce((SELECT max(counted_to) FROM series_position), 0)))"
    )
