"""What browsers are told with every answer, and which pages of other origins may read answers."""

import base64
import hashlib
import re

from flask import Flask, Response, request
from flask_cors import CORS

ALWAYS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
UNLESS_SET = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # Answers hold tokens, and what users reported.
    "Cache-Control": "no-store",
}
ON_HTTPS = "max-age=31536000"
INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def init_app(app: Flask) -> None:
    app.after_request(_add)
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


def _add(response: Response) -> Response:
    for name, value in UNLESS_SET.items():
        response.headers.setdefault(name, value)
    response.headers.extend(ALWAYS)
    if request.scheme == "https":
        response.headers["Strict-Transport-Security"] = ON_HTTPS
    return response


def let_swagger_ui_work(page: str) -> Response:
    """The page with a policy that lets it load its own files, run its one inline script and call this API."""
    scripts = (hashlib.sha256(script.encode()).digest() for script in INLINE_SCRIPT.findall(page))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in scripts)
    response = Response(page)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response
