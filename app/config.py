"""Settings from the environment: each is described, typed and validated once, in ``SettingsSchema``."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

MIN_SECRET_BYTES = 32
DAYS = "Must be a whole number of days from 1 to 3650."


class ConfigurationError(Exception):
    """A setting has an unusable value. The message is one line that names it and never shows a secret."""


class DatabaseUrl(fields.Field[URL]):
    """A SQLAlchemy URL of SQLite or PostgreSQL; PostgreSQL is always driven by psycopg 3."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> URL:
        try:
            url = make_url(value)
        except ArgumentError:
            raise ValidationError("Must be a URL: sqlite:///file.sqlite3 or postgresql://user:password@host/database.")
        match url.get_backend_name():
            case "sqlite":
                return url
            case "postgresql" | "postgres":
                return url.set(drivername="postgresql+psycopg")
        raise ValidationError("Must start with sqlite:/// or postgresql://.")


http_url = validate.URL(schemes={"http", "https"}, require_tld=False, error="Must be an http or https URL.")
no_blanks = validate.Regexp(r"\S+\Z", error="Must not contain spaces or line breaks.")


def long_enough(key: str) -> None:
    if len(key.encode()) < MIN_SECRET_BYTES:
        raise ValidationError(f"Must be at least {MIN_SECRET_BYTES} bytes long.")


def setting(field: type[fields.Field[Any]], default: Any, description: str, **options: Any) -> Any:
    return field(load_default=default, metadata={"description": description}, **options)


class SettingsSchema(Schema):
    """Every setting. An empty value counts as not set."""

    class Meta:
        unknown = EXCLUDE

    HOST = setting(fields.String, "127.0.0.1", "Address the API listens on.")
    PORT = setting(
        fields.Integer,
        8000,
        "Port the API listens on.",
        validate=validate.Range(1, 65535, error="Must be a whole number from 1 to 65535."),
    )
    WEB_CONCURRENCY = setting(
        fields.Integer,
        1,
        "API worker processes; each serves 8 requests at a time.",
        validate=validate.Range(1, 64, error="Must be a whole number from 1 to 64."),
    )
    DATABASE_URL = setting(
        DatabaseUrl,
        make_url("sqlite:///app.sqlite3"),
        "`sqlite:///file` (a relative path lies under `instance/`) or `postgresql://user:password@host/database`.",
    )
    JWT_SECRET_KEY = setting(
        fields.String,
        None,
        "Key that signs sign-in tokens, 32 bytes or more. Made once and kept under `instance/` where none is set; "
        "several API hosts need the same one.",
        validate=long_enough,
    )
    JWT_ACCESS_TOKEN_EXPIRES = setting(
        fields.Integer,
        86_400,
        "Seconds a sign-in token is valid.",
        validate=validate.Range(60, 31_536_000, error="Must be a whole number of seconds from 60 to 31536000."),
    )
    DISCORD_BOT_TOKEN = setting(
        fields.String,
        None,
        "Token of the Discord bot that posts to channel IDs. Discord webhook URLs need none.",
        validate=no_blanks,
    )
    DISCORD_API_URL = setting(
        fields.String, "https://discord.com/api/v10", "Base URL of Discord's API.", validate=http_url
    )
    EMBEDDED_DISPATCHER = setting(
        fields.Boolean, True, "Whether gunicorn starts a dispatcher beside the API.", truthy={"true"}, falsy={"false"}
    )
    REGISTRATION = setting(
        fields.String,
        "open",
        "`open`: anybody may sign up; `closed`: nobody.",
        validate=validate.OneOf(["open", "closed"]),
    )
    PUBLIC_URL = setting(
        fields.String, None, "Where users reach the service; messages then link to their record.", validate=http_url
    )
    BODY_PREVIEW_BYTES = setting(
        fields.Integer,
        4096,
        "Bytes kept of each reported request and response body.",
        validate=validate.Range(0, 1_048_576, error="Must be a whole number from 0 to 1048576."),
    )
    DISPATCHER_CONNECTIONS = setting(
        fields.Integer,
        32,
        "Requests a dispatcher makes to Discord at a time, each to another channel or webhook.",
        validate=validate.Range(1, 500, error="Must be a whole number from 1 to 500."),
    )
    DIGEST_WINDOW_SECONDS = setting(
        fields.Float,
        5.0,
        "After a message, further events of the same webhook gather this long and go out as one.",
        validate=validate.Range(0, 3600, error="Must be a number of seconds from 0 to 3600."),
    )
    RECOVERY_AFTER_SECONDS = setting(
        fields.Integer,
        300,
        "Once no `fatal` event came for so long, a quiet message says that it is over; `0`: never.",
        validate=validate.Range(0, 86_400, error="Must be a whole number of seconds from 0 to 86400."),
    )
    TRAFFIC_RETENTION_DAYS = setting(
        fields.Integer, 14, "Days traffic records are kept.", validate=validate.Range(1, 3650, error=DAYS)
    )
    DELIVERY_RETENTION_DAYS = setting(
        fields.Integer,
        30,
        "Days delivered and discarded messages are kept.",
        validate=validate.Range(1, 3650, error=DAYS),
    )
    PENDING_RETENTION_DAYS = setting(
        fields.Integer,
        3,
        "Days notifications wait for a suspended webhook.",
        validate=validate.Range(1, 3650, error=DAYS),
    )
    LOG_FORMAT = setting(
        fields.String, "text", "`text` for people, `json` for machines.", validate=validate.OneOf(["text", "json"])
    )
    LOG_LEVEL = setting(
        fields.String,
        "INFO",
        "`DEBUG`, `INFO`, `WARNING` or `ERROR`.",
        validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]),
    )


def load_settings(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Read and check every setting.

    Raises ConfigurationError naming each setting that is unusable, and what was expected.
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    if "LOG_LEVEL" in given:
        given["LOG_LEVEL"] = given["LOG_LEVEL"].upper()
    try:
        settings: dict[str, Any] = SettingsSchema().load(given)
    except ValidationError as error:
        messages = error.normalized_messages()  # type: ignore[no-untyped-call]
        problems = (f"{name}: {' '.join(reasons)}" for name, reasons in messages.items())
        raise ConfigurationError("Unusable setting: " + "; ".join(problems)) from None
    for name in ("DISCORD_API_URL", "PUBLIC_URL"):
        settings[name] = settings[name] and settings[name].rstrip("/")
    return settings


def flask_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under the names Flask and its extensions read them by."""
    url = settings["DATABASE_URL"]
    sqlite = url.get_backend_name() == "sqlite"
    return {
        **settings,
        "SQLALCHEMY_DATABASE_URI": url,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            # Parameters hold password hashes, tokens and reported traffic: errors must not show them.
            "hide_parameters": True,
            **(_SQLITE_ENGINE if sqlite else _POSTGRESQL_ENGINE),
        },
    }


# Only writes open a transaction, and they take the write lock at once: one that began as
# a read and upgraded later would fail instead of waiting (SQLITE_BUSY_SNAPSHOT).
_SQLITE_ENGINE = {"connect_args": {"isolation_level": "IMMEDIATE", "timeout": 30}}
_POSTGRESQL_ENGINE = {"pool_pre_ping": True, "pool_size": 10, "connect_args": {"connect_timeout": 10}}


def secret_from_file(path: Path) -> str:
    """The secret kept in ``path``, made at the first call. Processes that start together get the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48))
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()
