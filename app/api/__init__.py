"""The HTTP API: registers blueprints, error handlers, rate limits, security headers and OpenAPI."""

from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Flask, send_from_directory

from app import greenlets
from app.api import auth, errors, rate_limits, request_log, security_headers
from app.api.alerts.views import blp as alerts
from app.api.blueprint import Api, IdConverter
from app.api.deliveries.views import blp as deliveries
from app.api.json import OrjsonProvider
from app.api.policies.views import blp as policies
from app.api.series.views import blp as series
from app.api.service.views import blp as service
from app.api.shared_traffic_sources.views import blp as shared_traffic_sources
from app.api.traces.views import blp as traces
from app.api.traffic.views import blp as traffic
from app.api.traffic_sources.views import blp as traffic_sources
from app.api.users.views import blp as users
from app.api.webhooks.views import blp as webhooks

MAX_BODY_BYTES = 2 * 1024 * 1024
SWAGGER_UI_FILES = Path(flask_swagger_ui.__file__).parent / "dist"
DESCRIPTION = """\
Turns the HTTP traffic of your applications into Discord notifications that arrive.

Sign up, sign in, register a traffic source, create a webhook for a severity level, and report traffic: every record
of that level becomes a message in your Discord channel."""


def init_app(app: Flask, version: str) -> None:
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        # In seconds, for hosts whose clocks differ: concerns "nbf" and "iat". api/auth.py checks "exp" without leeway.
        JWT_DECODE_LEEWAY=300,
        API_TITLE="arkyn webhooks",
        API_VERSION=version,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        OPENAPI_SWAGGER_UI_PATH="docs",
        OPENAPI_SWAGGER_UI_URL="/docs/",
        OPENAPI_SWAGGER_UI_CONFIG={"persistAuthorization": True, "validatorUrl": None},
        API_SPEC_OPTIONS={
            "info": {"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
            "servers": [{"url": "/"}],
        },
    )
    app.json = OrjsonProvider(app)
    app.url_map.converters["id"] = IdConverter
    app.url_map.merge_slashes = False
    if greenlets.are_used():
        from app.api import deadlines  # noqa: PLC0415

        deadlines.init_app(app)
    request_log.init_app(app)
    security_headers.init_app(app)
    rate_limits.init_app(app)
    api = Api(app)
    # After Api: replaces its error handlers.
    errors.init_app(app)
    for scheme, description in {"bearer": auth.BEARER, "ingestToken": auth.INGEST_BEARER}.items():
        api.spec.components.security_scheme(scheme, description)
    of_sources = (traffic_sources, shared_traffic_sources, series, webhooks, policies, alerts, deliveries)
    for blueprint in (users, *of_sources, traffic, traces, service):
        api.register_blueprint(blueprint)
    app.add_url_rule("/docs/<path:filename>", "swagger_ui_file", _swagger_ui_file)


def _swagger_ui_file(filename: str) -> Any:
    return send_from_directory(SWAGGER_UI_FILES, filename)
