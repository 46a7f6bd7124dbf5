"""All customising of the framework: one Api, Blueprint, Schema and parser that every blueprint uses."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from http import HTTPStatus
from typing import Any

import flask_smorest
import marshmallow as ma
import orjson
from flask import Flask, Request, Response, g, jsonify, request
from flask.json.provider import JSONProvider
from marshmallow import fields, validate
from webargs import flaskparser
from webargs.core import is_json
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from app.api import security_headers
from app.api.auth import Guard, signed_in
from app.api.fields import Moment, Timestamp
from app.extensions import db
from app.greenlets import in_turns
from app.json_input import holds_more_values, loads_repaired, without_values
from app.models.columns import known_id

View = Callable[..., Any]
Decorator = Callable[[View], View]


# Values that a body may hold: a batch, and anything else. They are counted before it is parsed.
MAX_BATCH_VALUES = 500_000
MAX_VALUES = 20_000

ERROR_HEADERS = {
    429: {"Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}}}
}


def camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


class IdConverter(BaseConverter):
    """An opaque identifier in a path."""

    def to_python(self, value: str) -> str:
        return known_id(value)


class OrjsonProvider(JSONProvider):
    """Strict JSON: no NaN, no lone surrogates, bounded nesting."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        option = orjson.OPT_INDENT_2 if kwargs.get("indent") else 0
        return orjson.dumps(obj, option=option | orjson.OPT_NON_STR_KEYS).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        body = orjson.dumps(self._prepare_response_obj(args, kwargs), option=orjson.OPT_NON_STR_KEYS)
        return Response(body, mimetype="application/json")


class Schema(ma.Schema):
    """``camelCase`` outside, ``snake_case`` inside; unknown fields are refused."""

    class Meta:
        unknown = ma.RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.data_key = camel_case(field_obj.data_key or field_name)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Dicts that hold every field, as repositories give them, are dumped without a search for attributes."""
        many = self.many if many is None else many
        if many and isinstance(obj, list):
            return [self.dump(item, many=False) for item in obj]
        if type(obj) is dict:
            return {key: dump(obj[name], name, obj) for name, key, dump in self._dumpers}
        return super().dump(obj, many=many)

    @cached_property
    def _dumpers(self) -> list[tuple[str, str, Callable[[Any, str, Any], Any]]]:
        return [
            (field.attribute or name, str(field.data_key), field._serialize) for name, field in self.dump_fields.items()
        ]


class PlainSchema(Schema):
    """Loads what is plainly valid field by field; the rest takes marshmallow's slower way, which says what is wrong.

    For schemas without hooks, whose fields are required or have a default.
    """

    def load(self, data: Any, *, many: bool | None = None, **kwargs: Any) -> Any:
        many = self.many if many is None else many
        with suppress(ma.ValidationError):
            if not many:
                return self._load_plain(data)
            if isinstance(data, list):
                return [self._load_plain(item) for item in data]
        return super().load(data, many=many, **kwargs)

    def _load_plain(self, item: Any) -> dict[str, Any]:
        if not isinstance(item, dict) or (self.unknown == ma.RAISE and len(item) != len(self._loaders)):
            raise ma.ValidationError("Not plain.")
        return {name: load(item.get(key, ma.missing)) for name, key, load in self._loaders}

    @cached_property
    def _loaders(self) -> list[tuple[str, str, Callable[[Any], Any]]]:
        return [(name, str(field.data_key), self._loader(field)) for name, field in self.load_fields.items()]

    def _loader(self, field: fields.Field[Any]) -> Callable[[Any], Any]:
        return field.deserialize


@dataclass(frozen=True)
class Batch:
    """Of many items, those that can be used, and of each other its ``index`` and ``errors``."""

    items: list[dict[str, Any]]
    rejected: list[dict[str, Any]]


class BulkSchema(PlainSchema):
    """For what comes in masses: unknown fields are ignored, and what is loaded is remembered.

    Many are loaded as a ``Batch``: what cannot be used costs nothing else.
    """

    MAX_ITEMS = 1_000

    class Meta:
        unknown = ma.EXCLUDE

    def load(self, data: Any, *, many: bool | None = None, **kwargs: Any) -> Any:
        many = self.many if many is None else many
        if not many:
            return super().load(data, many=False, **kwargs)
        if not isinstance(data, list):
            raise ma.ValidationError("Must be an array.")
        if len(data) > self.MAX_ITEMS:
            raise ma.ValidationError(f"At most {self.MAX_ITEMS:,} may be sent at once.")
        return self._load_batch(data, **kwargs)

    def _load_batch(self, data: list[Any], **kwargs: Any) -> Batch:
        items, rejected = [], []
        for index, item in enumerate(in_turns(data)):
            try:
                items.append(super().load(item, many=False, **kwargs))
            except ma.ValidationError as error:
                rejected.append({"index": index, "errors": error.normalized_messages()})  # type: ignore[no-untyped-call]
        if not items:
            named = {str(each["index"]): each["errors"] for each in rejected}
            raise ma.ValidationError(named or "Must hold one item at least.")
        return Batch(items, rejected)

    def _loader(self, field: fields.Field[Any]) -> Callable[[Any], Any]:
        return _remembering(field)


def _remembering(field: fields.Field[Any]) -> Callable[[Any], Any]:
    """``field.deserialize``, remembered for short texts, integers and nothing: most come again and again."""
    remembered = lru_cache(maxsize=1024, typed=True)(field.deserialize)

    def load(value: Any) -> Any:
        kind = type(value)
        plain = (kind is str and len(value) <= 256) or kind is int or value is None or value is ma.missing
        return remembered(value) if plain else field.deserialize(value)

    return load


class QueryArgsSchema(Schema):
    """Query parameters. Unknown ones are ignored, empty ones count as not given."""

    class Meta:
        unknown = ma.EXCLUDE

    @ma.pre_load
    def drop_empty(self, data: Any, **kwargs: Any) -> dict[str, str]:
        return {name: value for name, value in data.items() if value != ""}


class PageQueryArgsSchema(QueryArgsSchema):
    page = fields.Integer(
        load_default=1, validate=validate.Range(1, 1_000_000), metadata={"description": "Page, from 1."}
    )
    page_limit = fields.Integer(
        load_default=10, validate=validate.Range(1, 100), metadata={"description": "Items a page."}
    )


class PageMetaSchema(Schema):
    page = fields.Integer(required=True)
    page_limit = fields.Integer(required=True)
    total_items = fields.Integer(required=True)


def page_schema(item: type[Schema]) -> ma.Schema:
    """The schema of a ``Page`` of ``item``."""
    attributes = {
        "data": fields.List(fields.Nested(item), attribute="items", required=True),
        "meta": fields.Nested(PageMetaSchema, required=True),
    }
    name = item.__name__.removesuffix("Schema")
    return Schema.from_dict(attributes, name=f"{name}PageSchema")()


class ErrorSchema(Schema):
    """The one shape of every error."""

    code = fields.Integer(required=True, metadata={"description": "HTTP status code.", "example": 409})
    status = fields.String(required=True, metadata={"description": "HTTP status phrase.", "example": "Conflict"})
    message = fields.String(
        required=True,
        metadata={
            "description": "One sentence a person can act on.",
            "example": "A webhook for this severity level already exists on this traffic source.",
        },
    )
    errors = fields.Dict(
        keys=fields.String(),
        metadata={
            "description": "Where there is something to say per field: location, field, messages.",
        },
    )


class Parser(flaskparser.FlaskParser):
    """Invalid arguments are 400, and a body that is no JSON is refused rather than taken for an empty one."""

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        body = req.get_data()
        if not body:
            return ma.missing
        if req.content_length is None and len(body) >= (req.max_content_length or 0):
            # werkzeug cuts a chunked body off at the limit instead of refusing it.
            raise RequestEntityTooLarge
        if not is_json(req.mimetype):
            raise BadRequest("The request body must be JSON, sent with Content-Type: application/json.")
        tolerant = isinstance(schema, BulkSchema)
        if holds_more_values(body, limit := MAX_BATCH_VALUES if tolerant else MAX_VALUES):
            with suppress(ValueError):
                if tolerant:
                    # One body or header of many values must not cost what stands beside it.
                    return without_values(body, 2 if schema.many else 1, limit)
            raise RequestEntityTooLarge("The request body holds too many values.")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            with suppress(ValueError):
                if tolerant:
                    return loads_repaired(body)
            raise BadRequest("The request body is not valid JSON in UTF-8.") from None


def _documented_by(decorator: Decorator, view: View) -> View:
    """The view with what flask-smorest's ``decorator`` documents, but not wrapped by it once more."""
    view._apidoc = decorator(view)._apidoc  # type: ignore[attr-defined]
    return view


class Blueprint(flask_smorest.Blueprint):
    """Views are guarded and documented by their route.

    Whoever calls must be signed in unless the route names another ``guard``, which is checked before anything
    else. Operations get an id for client generators, and the answers every operation can give.
    """

    ARGUMENTS_PARSER = Parser()

    def arguments(
        self, schema: Any, *, location: str = "json", required: bool = True, max_bytes: int | None = None, **kwargs: Any
    ) -> Decorator:
        """A body is ``required`` unless said otherwise; ``max_bytes`` allows one larger than MAX_CONTENT_LENGTH."""
        document: Decorator = super().arguments(schema, location=location, required=required, **kwargs)
        wants_body = location == "json" and required
        reasons = {400: "Invalid input data, such as a missing required field."}
        if location == "json":
            reasons[413] = "The request body is too large."

        def decorator(view: View) -> View:
            @wraps(view)
            def parsed(*args: Any, **kwargs: Any) -> Any:
                asked = request._get_current_object()  # type: ignore[attr-defined]
                if location == "json" and "current_user" in g:
                    # No connection to the database is held while the body comes.
                    db.session.commit()
                if max_bytes:
                    asked.max_content_length = max_bytes
                if wants_body and not asked.get_data():
                    raise BadRequest("A JSON body is missing.")
                return view(self.ARGUMENTS_PARSER.parse(schema, asked, location=location), *args, **kwargs)

            return self.errors(reasons)(_documented_by(document, parsed))

        return decorator

    def response(self, status_code: int, schema: ma.Schema | dict[str, Any] | None = None, **kwargs: Any) -> Decorator:
        """Views return what ``schema`` dumps, or a whole ``Response``."""
        document: Decorator = super().response(status_code, schema, **kwargs)

        def decorator(view: View) -> View:
            @wraps(view)
            def answering(*args: Any, **kwargs: Any) -> Response:
                found = view(*args, **kwargs)
                if isinstance(found, Response):
                    return found
                response = jsonify(schema.dump(found) if isinstance(schema, ma.Schema) else found)
                response.status_code = status_code
                return response

            return _documented_by(document, answering)

        return decorator

    def errors(self, reasons: dict[int, str]) -> Decorator:
        """What an operation can be refused with: each status and its reason, for the documentation."""

        def decorator(view: View) -> View:
            known: dict[int, str] = getattr(view, "refusals", {})
            merged = {code: f"{known[code]} {reason}" if code in known else reason for code, reason in reasons.items()}
            view.refusals = known | merged  # type: ignore[attr-defined]
            return view

        return decorator

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: Any = None, *, guard: Guard = signed_in, **kwargs: Any
    ) -> None:
        view = self.errors({**guard.reasons, 500: "An unexpected server error occurred."})(guard(view_func))
        for code, reason in view.refusals.items():  # type: ignore[attr-defined]
            example = {"code": code, "status": HTTPStatus(code).phrase, "message": reason}
            document = self.alt_response(
                code, schema=ErrorSchema, description=reason, example=example, headers=ERROR_HEADERS.get(code)
            )
            _documented_by(document, view)
        _documented_by(self.doc(operationId=camel_case(view_func.__name__), security=guard.security), view)
        super().add_url_rule(rule, endpoint, view, **kwargs)

    def _prepare_response_doc(self, doc: Any, doc_info: Any, **kwargs: Any) -> Any:
        doc = super()._prepare_response_doc(doc, doc_info, **kwargs)
        doc["responses"] = dict(sorted(doc["responses"].items()))
        return doc


class Api(flask_smorest.Api):
    """Registers its blueprints' views and documents them; ``api/errors.py`` answers errors."""

    ERROR_SCHEMA = ErrorSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self.register_converter(IdConverter, lambda _: {"type": "string"})
        self.register_field(Timestamp, "string", "date-time")
        self.register_field(Moment, "string", None)
        self.register_field(fields.URL, "string", "uri")

    def _register_error_handlers(self) -> None:
        pass

    def _openapi_swagger_ui(self) -> Response:
        return security_headers.let_swagger_ui_work(super()._openapi_swagger_ui())

    def _register_pagination_header(self) -> None:
        """Lists tell their page in the body."""
