"""The application factory of a service that turns HTTP traffic of applications into Discord notifications."""

from collections.abc import Mapping
from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import api, cli, console, models, user_commands
from app.accounts.mailer import Mailer
from app.config import flask_config, load_settings, secret_from_file
from app.discord.client import DiscordClient
from app.extensions import db, jwt
from app.monitoring import logs
from app.security.keyring import KeyRing

__version__ = "1.0.0"

__all__ = ["create_app", "models"]


def create_app(environ: Mapping[str, str] | None = None, instance_path: str | None = None) -> Flask:
    """Configure the application from ``environ``, by default the process's environment. Raises ConfigurationError."""
    app = Flask(__name__, instance_path=instance_path and str(Path(instance_path).absolute()), static_folder=None)
    app.config.from_mapping(flask_config(load_settings() if environ is None else load_settings(environ)))
    for name in ("JWT_SECRET_KEY", "ENCRYPTION_KEYS"):
        if not app.config[name]:
            app.config[name] = secret_from_file(Path(app.instance_path) / name.lower(), name)
    logs.init_app(app)
    db.init_app(app)
    jwt.init_app(app)
    api.init_app(app, __version__)
    console.init_app(app)
    if proxies := app.config["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    cli.init_app(app)
    user_commands.init_app(app)
    app.extensions["keyring"] = KeyRing(app.config["ENCRYPTION_KEYS"])
    app.extensions["discord"] = DiscordClient.from_config(app.config)
    app.extensions["mailer"] = Mailer(app)
    return app
