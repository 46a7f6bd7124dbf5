"""Adds security headers to every answer, and CORS headers for CORS_ORIGINS."""

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from flask_cors import CORS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ALWAYS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
UNLESS_SET = [
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    # Answers hold tokens and reported traffic.
    ("Cache-Control", "no-store"),
]
ON_HTTPS = ("Strict-Transport-Security", "max-age=31536000")
SWAGGER_UI = "api-docs.openapi_swagger_ui"
INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def init_app(app: Flask) -> None:
    app.after_request(let_swagger_ui_work)
    app.wsgi_app = WithHeaders(app.wsgi_app)  # type: ignore[method-assign]
    if origins := app.config["CORS_ORIGINS"]:
        CORS(
            app,
            origins=origins,
            methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["Retry-After", "WWW-Authenticate", "X-Request-Id"],
            max_age=600,
            send_wildcard=True,
            always_send=False,
            intercept_exceptions=False,
        )


class WithHeaders:
    """WSGI middleware that adds the constant headers, bypassing werkzeug's ``Headers``, which validates each."""

    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            names = {name for name, _ in headers}
            headers += [header for header in UNLESS_SET if header[0] not in names]
            headers += ALWAYS
            if environ["wsgi.url_scheme"] == "https":
                headers.append(ON_HTTPS)
            return start_response(status, headers, *exc_info)

        return self.app(environ, start)


def let_swagger_ui_work(response: Response) -> Response:
    """Let the Swagger UI page load its files, run its inline script and call this API: set its CSP."""
    if request.endpoint != SWAGGER_UI:
        return response
    scripts = (hashlib.sha256(script.encode()).digest() for script in INLINE_SCRIPT.findall(response.get_data(True)))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in scripts)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response
