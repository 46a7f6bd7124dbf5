"""Loads and validates the settings from the environment. ``SettingsSchema`` describes each of them."""

import base64
import os
import re
import secrets
from collections.abc import Mapping
from email.utils import parseaddr
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email
from limits import parse_many
from limits.storage import storage_from_string
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app import mail

MIN_SECRET_LENGTH = 32
YEAR_SECONDS = 31_536_000
SMTP_PORTS = {"smtp": 587, "smtps": 465}
STORAGE_PACKAGES = {"redis": "redis", "rediss": "redis", "memcached": "pymemcache"}
ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")


class ConfigurationError(Exception):
    """A setting is unusable. The message is one line, names the setting, and shows no secret."""


class DatabaseUrl(fields.Field[URL]):
    """A SQLAlchemy URL of SQLite or PostgreSQL; PostgreSQL is always driven by psycopg 3."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> URL:
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):
            raise ValidationError("Must be a URL: sqlite:///file.sqlite3 or postgresql://user:password@host/database.")
        match url.get_backend_name():
            case "sqlite":
                return url
            case "postgresql" | "postgres":
                return url.set(drivername="postgresql+psycopg")
        raise ValidationError("Must start with sqlite:/// or postgresql://.")


class FernetKeys(fields.Field[list[str]]):
    """Fernet keys, separated by commas."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[str]:
        keys = [key.strip() for key in value.split(",")]
        if not all(FERNET_KEY.fullmatch(key) for key in keys):
            raise ValidationError("Must be Fernet keys, separated by commas: 32 bytes each, in URL-safe base64.")
        return keys


class Origins(fields.Field[list[str]]):
    """Origins of web pages, separated by commas; or ``*``."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[str]:
        origins = [origin.strip() for origin in value.split(",")]
        if origins != ["*"] and not all(ORIGIN.fullmatch(origin) for origin in origins):
            raise ValidationError("Must be origins, such as https://panel.example.com, separated by commas; or *.")
        return origins


class SmtpUrl(fields.Field[mail.Server]):
    """``smtp://user:password@host:587`` or ``smtps://…``."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> mail.Server:
        try:
            url = urlsplit(value)
            port = SMTP_PORTS[url.scheme] if url.port is None else url.port
            valid = url.hostname and port and url.path in ("", "/") and not url.query and not url.fragment
        except (ValueError, KeyError):
            valid = False
        if not valid:
            raise ValidationError("Must be smtp://user:password@host:587 or smtps://user:password@host:465.")
        user, password = unquote(url.username or ""), unquote(url.password or "")
        return mail.Server(str(url.hostname), port, user, password, url.scheme == "smtps")


def mail_address(value: str) -> None:
    """An address, perhaps with a name: Traffic <traffic@example.com>."""
    try:
        validate_email(parseaddr(value)[1], check_deliverability=False, test_environment=True)
        valid = value.isascii() and value.isprintable()
    except EmailNotValidError:
        valid = False
    if not valid:
        raise ValidationError("Must be an e-mail address, such as traffic@example.com.")


def base_url(value: str) -> None:
    try:
        url = urlsplit(value)
        valid = url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc and url.port != 0
    except ValueError:
        valid = False
    if not valid or url.query or url.fragment or not re.fullmatch(r"[!-~]+", value):
        raise ValidationError("Must be an http or https URL, such as https://traffic.example.com.")


header_safe = validate.Regexp(r"[!-~]+\Z", error="Must be printable ASCII without spaces.")


def rate(value: str) -> None:
    try:
        valid = all(limit.amount and 0 < limit.get_expiry() <= YEAR_SECONDS for limit in parse_many(value))
    except ValueError:
        valid = False
    if not valid:
        raise ValidationError("Must be a number per time, up to a year, such as 100 per 15 minutes.")


def counting_storage(value: str) -> None:
    scheme, _, host = value.partition("://")
    if value == "memory://":
        return
    if scheme not in STORAGE_PACKAGES or not host:
        raise ValidationError("Must be memory://, redis://host:port/0 or memcached://host:port.")
    if not find_spec(STORAGE_PACKAGES[scheme]):
        raise ValidationError(f"This needs a package: pip install {STORAGE_PACKAGES[scheme]}")
    try:
        storage_from_string(value)
    except Exception:  # Each package raises its own errors, whose text may hold a password.
        raise ValidationError(f"Must be a URL that {STORAGE_PACKAGES[scheme]} accepts.") from None


def long_enough(key: str) -> None:
    if not key.isascii() or len(key) < MIN_SECRET_LENGTH:
        raise ValidationError(f"Must be ASCII, and at least {MIN_SECRET_LENGTH} characters long.")


def setting(field: type[fields.Field[Any]], default: Any, description: str, **options: Any) -> Any:
    return field(load_default=default, metadata={"description": description}, **options)


def number(default: int, low: int, high: int, description: str) -> Any:
    expected = f"Must be a whole number from {low} to {high}."
    within = validate.Range(low, high, error=expected)
    return setting(fields.Integer, default, description, validate=within, error_messages={"invalid": expected})


def choice(default: str, words: tuple[str, ...], description: str) -> Any:
    return setting(fields.String, default, description, validate=validate.OneOf(words))


def limit(default: str | None, description: str) -> Any:
    return setting(fields.String, default, description, validate=rate)


class SettingsSchema(Schema):
    """All settings. An empty value counts as not set."""

    class Meta:
        unknown = EXCLUDE

    HOST = setting(fields.String, "127.0.0.1", "Address the API listens on.", validate=header_safe)
    PORT = number(8000, 1, 65_535, "Port the API listens on.")
    WEB_CONCURRENCY = number(1, 1, 64, "API worker processes; each keeps one processor busy.")
    DATABASE_URL = setting(
        DatabaseUrl,
        make_url("sqlite:///app.sqlite3"),
        "`sqlite:///file` (a relative path lies under `instance/`) or `postgresql://user:password@host/database`.",
    )
    JWT_SECRET_KEY = setting(
        fields.String,
        None,
        "Key that signs sign-in tokens, 32 characters or more. Made once and kept under `instance/` where none is set; "
        "several API hosts need the same one.",
        validate=long_enough,
    )
    JWT_ACCESS_TOKEN_EXPIRES = number(86_400, 60, 31_536_000, "Seconds a sign-in token is valid.")
    ENCRYPTION_KEYS = setting(
        FernetKeys,
        None,
        "Fernet keys, separated by commas, for the tokens of webhook URLs in the database: the first encrypts, all "
        "decrypt. Made once and kept under `instance/` where none is set; all hosts need the same.",
    )
    DISCORD_BOT_TOKEN = setting(
        fields.String,
        None,
        "Token of the Discord bot that posts to channel IDs. Discord webhook URLs need none.",
        validate=header_safe,
    )
    DISCORD_API_URL = setting(
        fields.String, "https://discord.com/api/v10", "Base URL of Discord's API.", validate=base_url
    )
    EMBEDDED_DISPATCHER = setting(
        fields.Boolean,
        True,
        "Whether gunicorn starts a dispatcher beside the API.",
        truthy={"true", "True", "TRUE"},
        falsy={"false", "False", "FALSE"},
        error_messages={"invalid": "Must be true or false."},
    )
    REGISTRATION = choice(
        "open",
        ("open", "first", "closed"),
        "`open`: anybody may sign up; `first`: until there is an account; `closed`: nobody, `flask --app wsgi users "
        "create` makes accounts.",
    )
    TRUSTED_PROXIES = number(
        0, 0, 10, "Proxies in front, one behind the other, whose `X-Forwarded-For` and `-Proto` are believed."
    )
    CORS_ORIGINS = setting(
        Origins, None, "Origins whose pages may call the API from a browser, separated by commas; `*`: all."
    )
    RATE_LIMIT_STORAGE = setting(
        fields.String,
        "memory://",
        "Where limits count: `memory://` (each worker for itself, so N allow N times as much), `redis://host:port/0` "
        "or `memcached://host:port` (for all; `pip install redis` or `pymemcache`).",
        validate=counting_storage,
    )
    SIGN_IN_ADDRESS_LIMIT = limit("600 per 15 minutes", "Failed sign-ins from one address.")
    SIGN_IN_ACCOUNT_LIMIT = limit("30 per 15 minutes", "Failed sign-ins to one account from one address.")
    SIGN_IN_ATTACK_LIMIT = limit(
        "100 per hour",
        "Failed sign-ins to one account from all addresses; when there are more, each address may fail only once.",
    )
    SIGN_UP_ADDRESS_LIMIT = limit("2000 per hour", "Sign-ups from one address.")
    SIGN_UP_ACCOUNT_LIMIT = limit("100 per hour", "Sign-ups with one e-mail from one address.")
    MAX_SOURCES_PER_USER = number(10_000, 0, 1_000_000, "Traffic sources one user may have; `0`: any number.")
    MAX_TOKENS_PER_SOURCE = number(100, 0, 1_000_000, "Ingest tokens one source may have; `0`: any number.")
    INGEST_RATE_LIMIT = limit(None, "Records one traffic source takes, such as `6000 per minute`; not set: any number.")
    PUBLIC_URL = setting(
        fields.String,
        None,
        "Address at which users reach the service: for links in messages, for `dsn`s, and for Discord in the "
        "User-Agent.",
        validate=base_url,
    )
    SMTP_URL = setting(
        SmtpUrl,
        None,
        "Server that mails links to set a forgotten password: `smtp://user:password@host:587` (by STARTTLS) or "
        "`smtps://user:password@host:465`. Needs `MAIL_FROM` and `PUBLIC_URL`. Not set: nothing is mailed.",
    )
    MAIL_FROM = setting(fields.String, None, "Sender of these mails.", validate=mail_address)
    BODY_PREVIEW_BYTES = number(4096, 0, 1_048_576, "Bytes kept of each reported request and response body.")
    DISPATCHER_CONNECTIONS = number(
        32, 1, 500, "Requests a dispatcher makes to Discord at a time, each to another channel or webhook."
    )
    DIGEST_WINDOW_SECONDS = setting(
        fields.Float,
        5.0,
        "After a message, further events of the same webhook gather this long and go out as one.",
        validate=validate.Range(0, 3600, error="Must be a number from 0 to 3600."),
        error_messages={"invalid": "Must be a number from 0 to 3600."},
    )
    RECOVERY_AFTER_SECONDS = number(
        300, 0, 86_400, "Once no `fatal` event came for so long, a quiet message says that it is over; `0`: never."
    )
    TRAFFIC_RETENTION_DAYS = number(14, 1, 3650, "Days traffic records are kept.")
    DELIVERY_RETENTION_DAYS = number(30, 1, 3650, "Days delivered and discarded messages are kept.")
    PENDING_RETENTION_DAYS = number(3, 1, 3650, "Days notifications wait for a suspended webhook.")
    SERIES_RETENTION_DAYS = number(90, 1, 3650, "Days the series are kept, the counts by minute that charts show.")
    LOG_FORMAT = choice("text", ("text", "json"), "`text` for people, `json` for machines.")
    LOG_LEVEL = choice("INFO", ("DEBUG", "INFO", "WARNING", "ERROR"), "`DEBUG`, `INFO`, `WARNING` or `ERROR`.")

    @validates_schema
    def mail_needs_addresses(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Links in mails are never built from a request's Host header, which anybody can forge."""
        missing = [name for name in ("MAIL_FROM", "PUBLIC_URL") if not data[name]]
        if data["SMTP_URL"] and missing:
            raise ValidationError(f"Needs {' and '.join(missing)} too.", "SMTP_URL")


def load_settings(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings by name. Raises ConfigurationError, which names each unusable setting and the expected value."""
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


def advice(settings: Mapping[str, Any]) -> str | None:
    """A warning about risky settings, for the log; or None."""
    if settings["REGISTRATION"] != "open" or settings["HOST"] in mail.LOOPBACK:
        return None
    return (
        "Anybody who reaches this service may sign up and, if there is a bot token, post to every channel that the bot "
        "can see. REGISTRATION=first allows only the first sign-up."
    )


def flask_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under the names that Flask and its extensions read."""
    url = settings["DATABASE_URL"]
    # Keep SQL parameters, such as password hashes and reported traffic, out of error messages.
    options: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        return {**settings, "SQLALCHEMY_DATABASE_URI": url, "SQLALCHEMY_ENGINE_OPTIONS": options | _SQLITE_ENGINE}
    options |= _POSTGRESQL_POOL | {"connect_args": _connection_options(url)}
    return {**settings, "SQLALCHEMY_DATABASE_URI": url, "SQLALCHEMY_ENGINE_OPTIONS": options}


def _connection_options(url: URL) -> dict[str, Any]:
    """libpq's parameters of each connection; those of ``url`` win."""
    given = {name: value for name, value in _POSTGRESQL.items() if name not in url.query}
    # UTC: in zones east of it, the last hours of 9999 lie in the year 10000, which Python's datetime cannot hold.
    return given | {"options": f"{url.query.get('options', '')} -c timezone=UTC".strip()}


# A transaction takes the write lock at its first write: one that upgrades from a read would fail with
# SQLITE_BUSY_SNAPSHOT instead of waiting. The timeout is in seconds.
_SQLITE_ENGINE = {"connect_args": {"isolation_level": "IMMEDIATE", "timeout": 30}}
# Each of a process's two pools has few connections, since PostgreSQL allows 100 by default; requests wait for one.
MAX_CONNECTIONS = 8
WAIT_SECONDS = 10
_POSTGRESQL_POOL = {"pool_size": MAX_CONNECTIONS, "max_overflow": 0, "pool_timeout": WAIT_SECONDS}
# Notice within 15 seconds that the database's host vanished: by data that it does not acknowledge (tcp_user_timeout, in
# milliseconds), and by keepalive probes while waiting for an answer, perhaps to a request that it did acknowledge.
# The other times are in seconds.
_KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2}
_POSTGRESQL = {"connect_timeout": 5, "tcp_user_timeout": 10_000, **_KEEPALIVES}
# Let PostgreSQL end sessions, with their locks, of a host that vanished: by default it takes two hours. Sent after
# connecting, since poolers refuse such parameters of a connection.
END_LOST_SESSIONS = "; ".join(
    f"SET {setting} = {value}"
    for setting, value in {
        **{f"tcp_{name}": value for name, value in _KEEPALIVES.items()},
        "tcp_user_timeout": _POSTGRESQL["tcp_user_timeout"],
    }.items()
)


def secret_from_file(path: Path, setting: str = "JWT_SECRET_KEY") -> Any:
    """The value of ``setting`` in the file ``path``, which is created with a new secret if it is missing.

    Processes that start together get the same secret. Raises ConfigurationError if the file is unusable.
    """
    try:
        _make_secret(path)
        return SettingsSchema().fields[setting].deserialize(path.read_text().strip())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read or made ({error.strerror}). Set {setting}, or let this user write to the folder."
        ) from None
    except ValidationError as error:
        raise ConfigurationError(
            f"Unusable secret in {path}: {error.messages[0]} Put it right, or remove the file to have a new one made."
        ) from None


def _make_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        fresh.touch(mode=0o600)
        with fresh.open("w") as file:
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
