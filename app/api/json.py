"""Reads and writes JSON with orjson: Flask's JSON provider and webargs' parser."""

from contextlib import suppress
from typing import Any

import marshmallow as ma
import orjson
from flask import Request, Response
from flask.json.provider import JSONProvider
from webargs import flaskparser
from webargs.core import is_json
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from app.api.body import unpacked
from app.api.schema import ReportSchema
from app.json_input import holds_more_values, loads_repaired, without_values

# JSON values that a body may hold, of reports and of any other kind; counted before parsing.
MAX_REPORTED_VALUES = 500_000
MAX_VALUES = 20_000


class OrjsonProvider(JSONProvider):
    """Strict JSON: no NaN, no lone surrogates, bounded nesting."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        option = orjson.OPT_INDENT_2 if kwargs.get("indent") else 0
        return orjson.dumps(obj, option=option | orjson.OPT_NON_STR_KEYS).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Serialise the one positional value, or the keywords."""
        body = orjson.dumps(args[0] if args else kwargs, option=orjson.OPT_NON_STR_KEYS)
        return Response(body, mimetype="application/json")


class Parser(flaskparser.FlaskParser):
    """Answers invalid arguments with 400 instead of 422, and refuses a body that is not JSON.

    The schema decides what becomes of unknown fields and parameters.
    """

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {}

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        body = unpacked(req, req.max_content_length or 0)
        if not body:
            return ma.missing
        if not is_json(req.mimetype):
            raise BadRequest("The request body must be JSON, sent with Content-Type: application/json.")
        return _loads_reported(body, schema) if isinstance(schema, ReportSchema) else _loads(body)


def _loads(body: bytes) -> Any:
    if holds_more_values(body, MAX_VALUES):
        raise RequestEntityTooLarge("The request body holds too many values.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest("The request body is not valid JSON in UTF-8.") from None


def _loads_reported(body: bytes, schema: ReportSchema) -> Any:
    """Repair or cut out invalid values, so that one odd header or body does not cost the whole report."""
    if holds_more_values(body, MAX_REPORTED_VALUES):
        with suppress(ValueError):
            return without_values(body, 2 if schema.many else 1, MAX_REPORTED_VALUES)
        raise RequestEntityTooLarge("The request body holds too many values.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        with suppress(ValueError):
            return loads_repaired(body)
        raise BadRequest("The request body is not valid JSON in UTF-8.") from None
