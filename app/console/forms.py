"""Forms: loaded with the API's schemas, refused in its words, and shown again with what was typed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, g, request
from flask_wtf.csrf import generate_csrf, validate_csrf
from marshmallow import Schema, ValidationError
from wtforms import ValidationError as InvalidCsrfToken

from app import errors
from app.api.errors import Problem, describe

# Fields that are no part of what a schema loads.
OWN_FIELDS = ("csrf_token", "next")
SECRET_FIELDS = ("password", "currentPassword")
# The fields beside which errors of the domain are shown. All others are shown above the form.
FIELDS_OF: dict[type[Exception], tuple[str, ...]] = {
    errors.EmailTaken: ("email",),
    errors.DomainTaken: ("trafficDomain",),
    errors.LevelTaken: ("level",),
    errors.WrongCurrentPassword: ("currentPassword", "password"),
    errors.AccountNotFound: ("userEmail",),
    errors.SharedAlready: ("userEmail",),
    errors.SharedWithOneself: ("userEmail",),
}


class PageTooOld(errors.ServiceError):
    """The form has no CSRF token of this session."""

    message = "This page was open for too long. Try again."


@dataclass
class Form:
    """What was typed, and why it is refused."""

    values: dict[str, str] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    problem: str | None = None

    def refuse(self, error: Exception) -> Problem:
        """Note the error, beside its field if it concerns one. Returns what is told of it."""
        if isinstance(error, ValidationError):
            self.errors = _by_field(error)
            self.problem = " ".join(self.errors.pop("_schema", [])) or None
            return problem_of(error)
        problem = problem_of(error)
        if problem.details:
            self.errors = problem.details["json"]
        elif name := next((name for name in FIELDS_OF.get(type(error), ()) if name in self.values), None):
            self.errors = {name: [problem.message.removeprefix(f"{name}: ")]}
        else:
            self.problem = problem.message
        return problem

    def load(self, schema: Schema, *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
        """The values as ``schema`` loads them, without those of ``optional`` that are empty. Raises ValidationError."""
        given = {name: value for name, value in self.values.items() if value or name not in optional}
        loaded: dict[str, Any] = schema.load({name: given[name] for name in given if name not in OWN_FIELDS})
        return loaded


def init_app(app: Flask) -> None:
    app.jinja_env.globals.update(csrf_token=generate_csrf, form_of=form_of)


def receive() -> Form:
    """Read the form of this request. Raises PageTooOld without its CSRF token, and RequestEntityTooLarge."""
    g.form = form = Form(dict(request.form.items()))
    g.form_target = request.path
    try:
        validate_csrf(request.form.get("csrf_token"))
    except InvalidCsrfToken:
        raise PageTooOld from None
    return form


def current() -> Form:
    form: Form = g.form
    return form


def sent() -> Form | None:
    """The form of this request, if it sent one."""
    form: Form | None = g.get("form")
    return form


def form_of(path: str) -> Form:
    """The form that was sent to ``path`` by this request and is refused; otherwise an empty one."""
    if g.get("form_target") != path:
        return Form()
    typed = {name: value for name, value in g.form.values.items() if name not in SECRET_FIELDS}
    return Form(typed, g.form.errors, g.form.problem)


def problem_of(error: Exception) -> Problem:
    """What is told of an error, also of those that only pages know."""
    match error:
        case ValidationError():
            return Problem(400, " ".join(f"{name}: {' '.join(texts)}" for name, texts in _by_field(error).items()))
        case PageTooOld():
            return Problem(400, error.message)
    return describe(error)


def _by_field(error: ValidationError) -> dict[str, list[str]]:
    """The sentences by field; the name of a nested one has the names of those around it before it, and dots between."""
    return dict(_named(error.normalized_messages()))  # type: ignore[no-untyped-call]


def _named(messages: dict[Any, Any], around: str = "") -> Iterator[tuple[str, list[str]]]:
    for name, texts in messages.items():
        if isinstance(texts, dict):
            yield from _named(texts, f"{around}{name}.")
        else:
            yield f"{around}{name}", texts if isinstance(texts, list) else [str(texts)]
