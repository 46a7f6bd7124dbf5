"""flask-smorest's Api and Blueprint, extended: each route is guarded and documented by its decorators."""

import re
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

import flask_smorest
from flask import Flask, g, request
from flask_smorest.spec.plugins import FlaskPlugin
from marshmallow import fields
from werkzeug.exceptions import BadRequest
from werkzeug.routing import BaseConverter

from app.api.auth import Guard, check_role, signed_in
from app.api.fields import Moment, MomentOrMilliseconds, Timestamp
from app.api.json import Parser
from app.api.schema import ErrorSchema, QueryArgsSchema, camel_case
from app.models.columns import known_id
from app.repositories.access import Role

View = Callable[..., Any]
Decorator = Callable[[View], View]
NO_PARAMETERS = QueryArgsSchema()
# Descriptions of path parameters that are no ids.
PARAMETERS = {"email": "The account's e-mail.", "token": "The token of the link."}  # nosec B105


class IdConverter(BaseConverter):
    """An identifier in a path. A malformed one becomes NO_ID, which no row has, and so a 404."""

    def to_python(self, value: str) -> str:
        return known_id(value)


class Blueprint(flask_smorest.Blueprint):
    """Guards each route: callers must be signed in, unless the route names another ``guard``.

    They must own the resource of the path, unless the route ``needs`` a lesser role.

    Documents for each operation its id, for client generators, and the errors that every operation can answer.
    """

    ARGUMENTS_PARSER = Parser()

    def arguments(
        self, schema: Any, *, location: str = "json", required: bool = True, max_bytes: int | None = None, **kwargs: Any
    ) -> Decorator:
        """Parse the arguments with ``schema``. ``max_bytes`` replaces MAX_CONTENT_LENGTH for this route."""
        parse: Decorator = super().arguments(schema, location=location, required=required, **kwargs)
        is_body, is_query = location == "json", location == "query"
        reasons = {400: "Invalid input data, such as a missing required field."}
        if is_body:
            reasons[413] = "The request body is too large."

        def decorator(view: View) -> View:
            parsed = parse(view)

            @wraps(parsed)
            def checked(*args: Any, **kwargs: Any) -> Any:
                if max_bytes:
                    request.max_content_length = max_bytes
                if is_body and required and not request.get_data():
                    raise BadRequest("A JSON body is missing.")
                return parsed(*args, **kwargs)

            checked.takes_query = is_query or takes_query(view)  # type: ignore[attr-defined]
            return self.errors(reasons)(checked)

        return decorator

    def response(self, status_code: int, schema: Any = None, **kwargs: Any) -> Decorator:
        """Dump the view's result with ``schema``; a ``Response`` passes unchanged.

        The view runs only after its arguments were validated and the caller's role on the resource was checked.
        """
        respond: Decorator = super().response(status_code, schema, **kwargs)

        def decorator(view: View) -> View:
            @wraps(view)
            def permitted(*args: Any, **kwargs: Any) -> Any:
                check_role(g.needs)
                return view(*args, **kwargs)

            return respond(permitted)

        return decorator

    def errors(self, reasons: dict[int, str]) -> Decorator:
        """Document the errors that an operation can answer: reasons by HTTP status."""

        def decorator(view: View) -> View:
            known: dict[int, str] = getattr(view, "refusals", {})
            merged = {code: f"{known[code]} {reason}" if code in known else reason for code, reason in reasons.items()}
            view.refusals = known | merged  # type: ignore[attr-defined]
            return view

        return decorator

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Any = None,
        *,
        guard: Guard = signed_in,
        needs: Role = Role.OWNER,
        **kwargs: Any,
    ) -> None:
        checked = view_func if takes_query(view_func) else without_query(view_func)
        reasons = {400: "An unknown query parameter."} | guard.reasons | {500: "An unexpected server error occurred."}
        view = self.errors(reasons)(guard(checked, needs))
        refusals: dict[int, str] = view.refusals  # type: ignore[attr-defined]
        documented = self.doc(
            operationId=camel_case(view_func.__name__),
            security=guard.security,
            responses={str(code): _refusal(code, reason) for code, reason in sorted(refusals.items())},
        )
        super().add_url_rule(rule, endpoint, documented(view), **kwargs)


def takes_query(view: View) -> bool:
    """Whether one of the decorators of ``view`` parses query parameters."""
    return getattr(view, "takes_query", False)


def without_query(view: View) -> View:
    """Refuse query parameters, of which the view would know none."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if request.query_string:
            Blueprint.ARGUMENTS_PARSER.parse(NO_PARAMETERS, request, location="query")
        return view(*args, **kwargs)

    return checked


def _refusal(code: int, reason: str) -> dict[str, Any]:
    example = {"code": code, "status": HTTPStatus(code).phrase, "message": reason}
    response: dict[str, Any] = {
        "description": reason,
        "content": {"application/json": {"schema": ErrorSchema, "example": example}},
    }
    if code == 429:
        seconds = {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}}
        response["headers"] = {"Retry-After": seconds}
    return response


class CamelCasePaths(FlaskPlugin):
    """Documents path parameters in camelCase.

    OpenAPI forbids two paths that differ only in a parameter's name, so the first name documented wins (``POST
    /webhooks/{trafficSourceId}`` before ``PUT /webhooks/{webhookId}``); each operation's description says whose id.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, list[str]] = {}

    def path_helper(self, rule: Any, operations: dict[str, Any], parameters: list[Any], **kwargs: Any) -> str:
        own = self.rule_to_params(rule)
        shape = re.sub("<.*?>", "{}", rule.rule)
        names = self.names.setdefault(shape, [camel_case(parameter["name"]) for parameter in own])
        for operation in operations.values():
            described = [
                {**parameter, "name": name, "description": _description(parameter["name"])}
                for name, parameter in zip(names, own, strict=True)
            ]
            operation["parameters"] = described + operation.get("parameters", [])
        return shape.format(*(f"{{{name}}}" for name in names))


def _description(name: str) -> str:
    return PARAMETERS.get(name) or f"The {name.removesuffix('_id').replace('_', ' ')}'s id."


class Api(flask_smorest.Api):
    """Registers and documents blueprints. ``api/errors.py`` handles the errors."""

    ERROR_SCHEMA = ErrorSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def __init__(self, app: Flask) -> None:
        super().__init__(app, spec_kwargs={"flask_plugin": CamelCasePaths()})
        self.register_converter(IdConverter, lambda _: {"type": "string"})
        self.register_field(Timestamp, "string", "date-time")
        self.register_field(Moment, "string", None)
        self.register_field(MomentOrMilliseconds, ["string", "number"], None)
        self.register_field(fields.URL, "string", "uri")
        for endpoint in [name for name in app.view_functions if name.startswith("api-docs.")]:
            app.view_functions[endpoint] = without_query(app.view_functions[endpoint])
        # Lists carry their page numbers in the body.
        self.spec.components.headers.pop("PAGINATION", None)
        self.spec.components.schemas.pop("PaginationMetadata", None)
