"""Creates, lists, changes and deletes traffic sources; issues and revokes ingest tokens."""

from typing import Any

from flask import current_app

from app.api import refusals
from app.api.auth import current_user_id
from app.api.blueprint import Blueprint
from app.api.schema import PageQueryArgsSchema, page_schema
from app.api.traffic_sources.schemas import (
    IngestTokenSchema,
    IssuedIngestTokenSchema,
    NewIngestTokenSchema,
    NewTrafficSourceSchema,
    TrafficSourceChangesSchema,
    TrafficSourceQueryArgsSchema,
    TrafficSourceSchema,
)
from app.api.traffic_sources.tokens import issue_and_commit
from app.extensions import db
from app.models import IngestToken, TrafficSource
from app.repositories import traffic_sources
from app.repositories.access import Role
from app.repositories.base import Page

blp = Blueprint(
    "Traffic sources", __name__, url_prefix="/traffic-sources", description="The applications that report traffic."
)

TAKEN = {409: "You already have a traffic source for this domain."}


@blp.route("", methods=["POST"])
@blp.arguments(NewTrafficSourceSchema())
@blp.response(201, TrafficSourceSchema())
@blp.errors(TAKEN | {429: "You have as many traffic sources as one user may have."})
def create_traffic_source(body: dict[str, Any]) -> TrafficSource:
    """Register an application"""
    source = TrafficSource(**body, user_id=current_user_id())
    traffic_sources.add(source, current_app.config["MAX_SOURCES_PER_USER"])
    db.session.commit()
    return source


@blp.route("", methods=["GET"])
@blp.arguments(TrafficSourceQueryArgsSchema(), location="query")
@blp.response(200, page_schema(TrafficSourceSchema))
def list_traffic_sources(query: dict[str, Any]) -> Page:
    """List your applications"""
    return traffic_sources.list_of(current_user_id(), **query)


@blp.route("/<id:traffic_source_id>", methods=["GET"], needs=Role.READER)
@blp.response(200, TrafficSourceSchema())
@blp.errors(refusals.SOURCE)
def get_traffic_source(traffic_source_id: str) -> TrafficSource:
    """Get an application"""
    return traffic_sources.get(traffic_source_id)


@blp.route("/<id:traffic_source_id>", methods=["PUT"])
@blp.arguments(TrafficSourceChangesSchema())
@blp.response(200, TrafficSourceSchema())
@blp.errors(refusals.SOURCE | TAKEN)
def update_traffic_source(changes: dict[str, Any], traffic_source_id: str) -> TrafficSource:
    """Change an application's name or domain"""
    source = traffic_sources.get(traffic_source_id)
    for name, value in changes.items():
        setattr(source, name, value)
    traffic_sources.save(source)
    db.session.commit()
    return source


@blp.route("/<id:traffic_source_id>", methods=["DELETE"])
@blp.response(204)
@blp.errors(refusals.SOURCE)
def delete_traffic_source(traffic_source_id: str) -> None:
    """Delete an application with its webhooks, tokens, traffic and pending notifications"""
    traffic_sources.delete(traffic_sources.get(traffic_source_id))
    db.session.commit()


@blp.route("/<id:traffic_source_id>/ingest-tokens", methods=["POST"])
@blp.arguments(NewIngestTokenSchema(), required=False)
@blp.response(201, IssuedIngestTokenSchema())
@blp.errors(refusals.SOURCE | {429: "The traffic source has as many ingest tokens as it may have."})
def create_ingest_token(body: dict[str, Any], traffic_source_id: str) -> IngestToken:
    """Issue a long-lived token that can only report traffic to this application

    Only this answer shows the token.
    """
    return issue_and_commit(traffic_source_id, body["name"])


@blp.route("/<id:traffic_source_id>/ingest-tokens", methods=["GET"])
@blp.arguments(PageQueryArgsSchema(), location="query")
@blp.response(200, page_schema(IngestTokenSchema))
@blp.errors(refusals.SOURCE)
def list_ingest_tokens(query: dict[str, Any], traffic_source_id: str) -> Page:
    """List the ingest tokens of an application, newest first"""
    return traffic_sources.list_ingest_tokens(traffic_source_id, **query)


@blp.route("/<id:traffic_source_id>/ingest-tokens/<id:token_id>", methods=["DELETE"])
@blp.response(204)
@blp.errors(refusals.SOURCE | {404: "The traffic source or the ingest token was not found."})
def delete_ingest_token(traffic_source_id: str, token_id: str) -> None:
    """Revoke an ingest token at once"""
    traffic_sources.delete_ingest_token(traffic_source_id, token_id)
    db.session.commit()
