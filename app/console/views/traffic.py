"""The records of a source, with filters, and one record whole."""

import re
from typing import Any

from flask import g, render_template, request
from marshmallow import ValidationError, fields

from app.api.auth import current_source_id
from app.api.fields import Identifier
from app.api.traffic.schemas import WholeRecordQueryArgsSchema
from app.console import display
from app.console.blueprint import blp, needs
from app.console.forms import Form
from app.models.traffic import LEVELS
from app.policies import status_range
from app.repositories import traffic, traffic_pages, traffic_sources
from app.repositories.access import Role

PAGE_LENGTH = 50
ROUTE_PARAMETER = re.compile(r"/\{[^{}/]+\}")
FILTERS = ("level", "method", "status", "pathname", "startDate", "endDate")
SHOWN_FILTERS = ("level", "method", "status", "pathname", "start_date", "end_date")


class StatusRange(fields.Field[tuple[int, int]]):
    """Loads the first and the last status of what people type."""

    def _deserialize(self, value: str, attr: str | None, data: Any, **kwargs: Any) -> tuple[int, int]:
        try:
            return status_range(value.strip().lower())
        except ValueError as error:
            raise ValidationError(str(error)) from None


class TrafficPageSchema(WholeRecordQueryArgsSchema):
    status = StatusRange()  # type: ignore[assignment]
    before = Identifier()


@blp.get("/sources/<id:traffic_source_id>/traffic")
@needs(Role.READER)
def traffic_page(traffic_source_id: str) -> Any:
    source = traffic_sources.get(traffic_source_id)
    form = Form({name: request.args.get(name, "") for name in FILTERS})
    page, status = traffic_pages.EMPTY, 200
    try:
        query = TrafficPageSchema().load(request.args)
        filters = {name: query[name] for name in SHOWN_FILTERS if name in query}
        page = traffic_pages.list_before(traffic_source_id, query.get("before"), PAGE_LENGTH, **filters)
    except ValidationError as error:
        status = form.refuse(error).code
    kept = {name: value for name, value in form.values.items() if value}
    return render_template(
        "traffic.html", source=source, form=form, page=page, kept=kept, levels=[(level, level) for level in LEVELS]
    ), status


@blp.get("/records/<id:record_id>")
@needs(Role.READER)
def record_page(record_id: str) -> Any:
    found = traffic.get(record_id)
    g.source_id = found.TrafficRecord.traffic_source_id
    return render_template(
        "record.html",
        source=traffic_sources.get(current_source_id()),
        record=found.TrafficRecord,
        domain=found.Domain,
        pathname=found.pathname,
        is_template=ROUTE_PARAMETER.search(found.pathname) is not None,
        phrase=display.phrase(found.TrafficRecord.status),
    )
