"""Lists the series of a traffic source."""

from typing import Any

from app.api import refusals
from app.api.blueprint import Blueprint
from app.api.series.schemas import SeriesQueryArgsSchema, SeriesStepSchema
from app.repositories import series
from app.repositories.access import Role
from app.repositories.series import Step

blp = Blueprint("Series", __name__, url_prefix="/traffic-sources", description="Records counted by time.")


@blp.route("/<id:traffic_source_id>/series", methods=["GET"], needs=Role.READER)
@blp.arguments(SeriesQueryArgsSchema(), location="query")
@blp.response(200, SeriesStepSchema(many=True))
@blp.errors(refusals.SOURCE)
def list_series(query: dict[str, Any], traffic_source_id: str) -> list[Step]:
    """List the numbers of records by level, and latencies, over time

    One item for each step that lies between `from` and `to` or reaches into it, oldest first, also without records. The
    series outlive their records, by SERIES_RETENTION_DAYS. Counts are exact, percentiles within 10 %.
    """
    return series.list_series(traffic_source_id, **query)
