"""The blueprint of the console: signs requests in, checks their CSRF tokens, and tells errors on pages."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, g, make_response, redirect, render_template, request, url_for
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, NotFound

from app import errors
from app.api import auth
from app.api.errors import Problem
from app.api.users.accounts import MAX_PUBLIC_BODY_BYTES
from app.console import forms, session
from app.extensions import db
from app.repositories.access import Role

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

blp = Blueprint("console", __name__, url_prefix="/console", template_folder="templates")
View = TypeVar("View", bound=Callable[..., Any])


def public(view: View) -> View:
    """Show a page, or take a form, without a session."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def needs(role: Role) -> Callable[[View], View]:
    """Let others than the owner see a page or send a form about a source."""

    def decorator(view: View) -> View:
        view.needs = role  # type: ignore[attr-defined]
        return view

    return decorator


def refused_on(page: Callable[..., Any]) -> Callable[[View], View]:
    """The page, with the arguments of the view, on which a refused form is shown again."""

    def decorator(view: View) -> View:
        view.page = page  # type: ignore[attr-defined]
        return view

    return decorator


def leave_to_console() -> Any:
    return redirect(url_for("console.start"))


@blp.route("/<path:unknown>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@public
def unknown_page(unknown: str) -> Any:
    """Tell on a page that there is none at this path; other routes go before this one."""
    raise NotFound


@blp.before_request
def check() -> Any:
    """In the order of the API: session, existence and permission; then the form's CSRF token."""
    request.max_content_length = MAX_PUBLIC_BODY_BYTES
    view = _view()
    if not getattr(view, "is_public", False):
        try:
            auth.authenticate(session.current_token())
        except errors.Unauthenticated:
            return ask_to_sign_in()
        auth.check_role(getattr(view, "needs", Role.OWNER))
    if request.method == "POST":
        forms.receive()
    return None


@blp.context_processor
def roles() -> dict[str, bool]:
    """What the reader may do with the source of the page, for templates to show what is possible."""
    role = auth.current_role() if "access" in g else Role.STRANGER
    return {"is_owner": role >= Role.OWNER, "is_editor": role >= Role.EDITOR}


@blp.after_request
def protect(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    return response


@blp.errorhandler(ValidationError)
@blp.errorhandler(errors.ServiceError)
@blp.errorhandler(HTTPException)
@blp.errorhandler(Exception)
def tell(error: Exception) -> Any:
    """Show a refused form again, or a page that tells what is wrong."""
    db.session.rollback()
    if isinstance(error, errors.InvalidToken):
        return ask_to_sign_in()
    page = getattr(_view(), "page", None)
    if "form" in g and page:
        problem = forms.current().refuse(error)
        with suppress(Exception):  # What the page is about, or the database, may have gone meanwhile.
            return _answer(problem, page(**(request.view_args or {})))
        db.session.rollback()
    problem = forms.problem_of(error)
    if isinstance(error, HTTPException) and error.code == 404:
        problem = Problem(404, "There is no such page.")
    return _answer(problem, render_template("problem.html", problem=problem))


def ask_to_sign_in() -> Any:
    """Lead to the sign-in page, and from there back to this one; a fragment makes its whole page go there."""
    session.end()
    wanted = request.full_path.rstrip("?") if request.method == "GET" else None
    if is_fragment():
        response = make_response("", 204)
        response.headers["HX-Redirect"] = url_for("console.sign_in_page")
        return response
    return redirect(url_for("console.sign_in_page", next=wanted))


def is_fragment() -> bool:
    """Whether htmx asks for the part of a page that refreshes itself."""
    return request.headers.get("HX-Request") == "true"


def _view() -> Any:
    return current_app.view_functions.get(request.endpoint or "")


def _answer(problem: Problem, page: Any) -> Response:
    response: Response = make_response(page)
    response.status_code = problem.code
    response.headers.update(problem.headers)
    return response
