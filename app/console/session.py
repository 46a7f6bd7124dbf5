"""The session of a signed-in person: a sign-in token, as the API issues it, in a signed cookie.

The token is checked as the API checks it, so signing out, a new password and its end also end a stolen cookie.
"""

from urllib.parse import urlsplit

from flask import Flask, Request, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from app.api.auth import issue_token
from app.models import User


class SessionCookie(SecureCookieSessionInterface):
    """The cookie is for the console alone: no other route can read it.

    It is ``Secure`` if the browser speaks https, to this service or to a proxy that stands for PUBLIC_URL.
    """

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(app, request) if request.path.startswith("/console") else None

    def get_cookie_secure(self, app: Flask) -> bool:
        public = urlsplit(app.config["PUBLIC_URL"] or "")
        return request.is_secure or (public.scheme == "https" and request.host == public.netloc)


def begin(user: User) -> None:
    """Replace the session, so that nothing that was set before the sign-in stays."""
    session.clear()
    session.permanent = True
    session["token"] = issue_token(user)


def end() -> None:
    session.clear()


def current_token() -> str:
    return str(session.get("token", ""))


def own_path(address: str | None) -> str | None:
    """``address`` if it is a path of the console, to which one may be sent after signing in; otherwise None."""
    if not address or not address.isprintable() or "\\" in address or address.startswith("//"):
        return None
    url = urlsplit(address)
    is_own = not url.scheme and not url.netloc and (url.path == "/console" or url.path.startswith("/console/"))
    return address if is_own else None
