"""Base classes of the marshmallow schemas: camelCase names, pages, errors, and fast loading of report batches."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import marshmallow as ma
from marshmallow import fields, validate

from app.greenlets import yielding
from app.repositories.base import MAX_PAGE_LIMIT, Order

# Orders that descend unless asked otherwise; all others ascend.
TIMES = ("createdAt", "updatedAt", "elapsedTime")


def camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def snake_case(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


class Schema(ma.Schema):
    """Maps ``camelCase`` in JSON to ``snake_case`` in Python, and refuses unknown fields."""

    class Meta:
        unknown = ma.RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.data_key = camel_case(field_obj.data_key or field_name)


@dataclass(frozen=True)
class Batch:
    """The valid items of a batch, and ``index`` (from 0) and ``errors`` of each rejected one."""

    items: list[dict[str, Any]]
    rejected: list[dict[str, Any]]


class ReportSchema(Schema):
    """Loads reports fast: caches short values, and ignores unknown fields.

    ``many=True`` loads a ``Batch``, in which an invalid report does not reject the others. Valid reports bypass
    marshmallow's hooks, so a subclass may have none; each of its fields is required or has a default.
    """

    MAX_ITEMS = 1_000

    class Meta:
        unknown = ma.EXCLUDE

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_hooks(cls)

    def load(self, data: Any, *, many: bool | None = None, **kwargs: Any) -> Any:
        many = self.many if many is None else many
        if not many:
            return self._load_one(data, **kwargs)
        if not isinstance(data, list):
            raise ma.ValidationError("Must be an array.")
        if len(data) > self.MAX_ITEMS:
            raise ma.ValidationError(f"At most {self.MAX_ITEMS:,} may be sent at once.")
        return self._load_batch(data, **kwargs)

    def _load_batch(self, data: list[Any], **kwargs: Any) -> Batch:
        items, rejected = [], []
        for index, item in enumerate(yielding(data)):
            try:
                items.append(self._load_one(item, **kwargs))
            except ma.ValidationError as error:
                rejected.append({"index": index, "errors": error.normalized_messages()})  # type: ignore[no-untyped-call]
        if not items:
            named = {str(each["index"]): each["errors"] for each in rejected}
            raise ma.ValidationError(named or "Must hold one item at least.")
        return Batch(items, rejected)

    def _load_one(self, item: Any, **kwargs: Any) -> Any:
        if isinstance(item, dict):
            with suppress(ma.ValidationError):
                return {name: load(item.get(key, ma.missing)) for name, key, load in self._loaders}
        return super().load(item, many=False, **kwargs)

    @cached_property
    def _loaders(self) -> list[tuple[str, str, Callable[[Any], Any]]]:
        return [(name, str(field.data_key), _remembering(field)) for name, field in self.load_fields.items()]


def _remembering(field: fields.Field[Any]) -> Callable[[Any], Any]:
    """``field.deserialize`` with a cache for short texts, integers, null and missing, since most values repeat.

    A ``Raw`` field takes any value as it is.
    """
    if type(field) is fields.Raw and not field.validators:
        return lambda value: field.load_default if value is ma.missing else value
    remembered = lru_cache(maxsize=1024, typed=True)(field.deserialize)

    def load(value: Any) -> Any:
        kind = type(value)
        plain = (kind is str and len(value) <= 256) or kind is int or value is None or value is ma.missing
        return remembered(value) if plain else field.deserialize(value)

    return load


class RowSchema(Schema):
    """Dumps rows, which are dictionaries by attribute, fast: its fields are columns, and it has no hooks.

    Texts and numbers are dumped as the database gave them.
    """

    PLAIN: ClassVar[set[type]] = {fields.String, fields.Integer, fields.Float}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_hooks(cls)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        many = self.many if many is None else many
        return [self._dump_one(row) for row in obj] if many else self._dump_one(obj)

    def _dump_one(self, row: dict[str, Any]) -> dict[str, Any]:
        return {key: write(row[name]) if write else row[name] for key, name, write in self._writers}

    @cached_property
    def _writers(self) -> list[tuple[str, str, Callable[[Any], Any] | None]]:
        return [
            (str(field.data_key), field.attribute or name, None if type(field) in self.PLAIN else _writer(field))
            for name, field in self.dump_fields.items()
        ]


def _writer(field: fields.Field[Any]) -> Callable[[Any], Any]:
    return lambda value: field.serialize("value", {"value": value})


def refuse_hooks(schema: type[ma.Schema]) -> None:
    """Raises TypeError if ``schema`` has hooks of marshmallow."""
    if any(schema.resolve_hooks().values()):
        raise TypeError(f"{schema.__name__} has hooks, which would not be called.")


class QueryArgsSchema(Schema):
    """Query parameters. Empty ones are ignored, unknown ones refused: a misspelt filter must not list everything.

    Alone, it is the schema of routes without parameters.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.known = [str(field.data_key) for field in self.load_fields.values()]
        takes = f"one of {', '.join(self.known)}" if self.known else "no parameters"
        self.error_messages = {**self.error_messages, "unknown": f"Unknown parameter: this route takes {takes}."}

    @ma.pre_load
    def drop_empty(self, data: Any, **kwargs: Any) -> dict[str, str]:
        return {name: value for name, value in data.items() if value != "" or name not in self.known}


class PageQueryArgsSchema(QueryArgsSchema):
    page = fields.Integer(
        load_default=1, validate=validate.Range(1, 1_000_000), metadata={"description": "Page, from 1."}
    )
    page_limit = fields.Integer(
        load_default=10, validate=validate.Range(1, MAX_PAGE_LIMIT), metadata={"description": "Items a page."}
    )


class SortedPageQueryArgsSchema(PageQueryArgsSchema):
    """A page of a list in an order, loaded as ``order``. A subclass says by ``sort = sort_by(…)`` in which ones."""

    sort_direction = fields.String(
        validate=validate.OneOf(["asc", "desc"]),
        metadata={"description": "If not given, times descend and all others ascend."},
    )

    @ma.post_load
    def join_order(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        sort, direction = data.pop("sort"), data.pop("sort_direction", None)
        descends = direction == "desc" if direction else sort in TIMES
        return {**data, "order": Order(snake_case(sort), descends)}


def sort_by(*names: str) -> fields.String:
    """The field of what a list can be sorted by, by default ``createdAt``."""
    return fields.String(load_default="createdAt", validate=validate.OneOf(names))


class PageMetaSchema(Schema):
    page = fields.Integer(required=True)
    page_limit = fields.Integer(required=True)
    total_items = fields.Integer(required=True)


def page_schema(item: type[Schema]) -> ma.Schema:
    """The schema of a ``Page`` of ``item``."""
    attributes: dict[str, fields.Field[Any]] = {
        "data": fields.Nested(item, many=True, attribute="items", required=True),
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
            "description": "Messages by location and field, if the error concerns fields.",
        },
    )
