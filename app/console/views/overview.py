"""The overview of a source: whether something is broken, since when and how badly, and where."""

from datetime import timedelta
from typing import Any

from flask import render_template, request
from marshmallow import fields, validate

from app.api.schema import QueryArgsSchema
from app.console import charts, summaries, verdicts
from app.console.blueprint import blp, is_fragment, needs
from app.console.verdicts import MAX_REQUESTS
from app.models.columns import utcnow
from app.repositories import alerts, recent, traffic_sources
from app.repositories.access import Role
from app.repositories.series import list_series

# Seconds of a step, by hours shown.
STEPS = {1: 60, 6: 300, 24: 1800, 168: 10800}
SPANS = {1: "Hour", 6: "6 hours", 24: "Day", 168: "Week"}
SHOWN_PATHS = 6


class OverviewQueryArgsSchema(QueryArgsSchema):
    hours = fields.Integer(load_default=1, validate=validate.OneOf(STEPS))


@blp.get("/sources/<id:traffic_source_id>")
@needs(Role.READER)
def source_page(traffic_source_id: str) -> Any:
    hours = OverviewQueryArgsSchema().load(request.args)["hours"]
    now, step = utcnow(), timedelta(seconds=STEPS[hours])
    since = now - timedelta(hours=hours) + step
    source = traffic_sources.get(traffic_source_id)
    series = list_series(traffic_source_id, since, now, STEPS[hours])
    requests = recent.list_requests(traffic_source_id, since, now + step, MAX_REQUESTS)
    paths = summaries.by_path(requests)
    verdict = verdicts.of_sources([traffic_source_id], now)[traffic_source_id]
    return render_template(
        "_overview.html" if is_fragment() else "source.html",
        source=source,
        hours=hours,
        spans=SPANS,
        totals=summaries.totals(series),
        firing=alerts.firing_of([traffic_source_id]),
        verdict=verdict,
        broken=verdicts.broken(traffic_source_id, verdict),
        counts=verdicts.counts(traffic_source_id, verdict, now),
        levels_chart=charts.of_levels(series),
        times_chart=charts.of_times(series),
        failing=sorted((path for path in paths if path.fatal), key=lambda path: -path.fatal)[:SHOWN_PATHS],
        slowest=sorted(paths, key=lambda path: -path.p95)[:SHOWN_PATHS],
        sampled=len(requests) if len(requests) == MAX_REQUESTS else None,
        webhooks=recent.webhooks_of(traffic_source_id),
        now=now,
    )
