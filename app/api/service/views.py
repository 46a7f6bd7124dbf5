"""Answers health, readiness and Prometheus metrics, without authentication."""

from typing import Any

from flask import Response
from marshmallow import fields
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from app.api.auth import public
from app.api.blueprint import Blueprint
from app.api.schema import Schema
from app.errors import Unavailable
from app.monitoring.metrics import collect
from app.monitoring.readiness import problems
from app.repositories import dispatchers
from app.repositories.clock import database_now
from app.repositories.discord_limits import alarms

blp = Blueprint("Service", __name__, description="Health and metrics, for operators.")


class HealthSchema(Schema):
    status = fields.String(required=True, metadata={"example": "ok"})


class ReadinessSchema(Schema):
    status = fields.String(required=True, metadata={"example": "ready"})
    alarms = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "Why sending to a kind of destination is paused; what a dispatcher has set aside."},
    )


@blp.route("/healthz", methods=["GET"], guard=public)
@blp.response(200, HealthSchema())
def get_health() -> dict[str, Any]:
    """Alive: the process answers"""
    return {"status": "ok"}


@blp.route("/health-check", methods=["GET"], guard=public)
@blp.response(200, {"type": "string"}, content_type="text/plain")
def get_health_check() -> Response:
    """Alive, as arkyn's services answer it: its panel asks every source for this"""
    return Response("OK", content_type="text/plain; charset=utf-8")


@blp.route("/readyz", methods=["GET"], guard=public)
@blp.response(200, ReadinessSchema())
@blp.errors({503: "The database is not reachable or not migrated, or no dispatcher was seen lately."})
def get_readiness() -> dict[str, Any]:
    """Ready: database reachable and migrated, dispatcher seen lately"""
    if found := problems():
        raise Unavailable(" ".join(found.values()), {name: [problem] for name, problem in found.items()})
    in_trouble = {f"dispatcher {number}": row.trouble for number, row in enumerate(dispatchers.in_trouble(), 1)}
    return {"status": "ready", "alarms": alarms(database_now()) | in_trouble}


@blp.route("/metrics", methods=["GET"], guard=public)
@blp.response(200, {"type": "string"}, content_type="text/plain")
def get_metrics() -> Response:
    """Metrics in Prometheus' text format"""
    return Response(generate_latest(collect()), content_type=CONTENT_TYPE_LATEST)
