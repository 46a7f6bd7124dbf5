"""The console: pages for people, over the same schemas and repositories as the API."""

import hashlib
import hmac

from flask import Flask

from app.console import assets, display, forms
from app.console.blueprint import blp, leave_to_console
from app.console.session import SessionCookie
from app.console.views import (
    accounts,
    alerts,
    connect,
    deliveries,
    overview,
    passwords,
    people,
    policies,
    sources,
    traffic,
    webhooks,
)

# Importing the views registers their routes.
__all__ = [
    "accounts",
    "alerts",
    "connect",
    "deliveries",
    "init_app",
    "overview",
    "passwords",
    "people",
    "policies",
    "sources",
    "traffic",
    "webhooks",
]


def init_app(app: Flask) -> None:
    key = app.config["JWT_SECRET_KEY"].encode()
    app.config.update(
        SECRET_KEY=hmac.new(key, b"console session", hashlib.sha256).hexdigest(),
        SESSION_COOKIE_NAME="console",
        SESSION_COOKIE_PATH="/console",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=app.config["JWT_ACCESS_TOKEN_EXPIRES"],
        # A token is good for as long as its session.
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.session_interface = SessionCookie()
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    for module in (assets, display, forms):
        module.init_app(app)
    app.add_url_rule("/", "root", leave_to_console)
    app.register_blueprint(blp)
