"""Settings: what they are where none is given, and that a bad one is named without being shown."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from app import config
from app.config import ConfigurationError, SettingsSchema, advice, flask_config, load_settings, secret_from_file

CANARY = "canary-s3cret"
LONG_KEY = "k" * 32
FERNET_KEY = "-_" * 21 + "8="
OTHER_FERNET_KEY = "09" * 21 + "A="

DEFAULTS = {
    "HOST": "127.0.0.1",
    "PORT": 8000,
    "WEB_CONCURRENCY": 1,
    "DATABASE_URL": make_url("sqlite:///app.sqlite3"),
    "JWT_SECRET_KEY": None,
    "JWT_ACCESS_TOKEN_EXPIRES": 86_400,
    "ENCRYPTION_KEYS": None,
    "DISCORD_BOT_TOKEN": None,
    "DISCORD_API_URL": "https://discord.com/api/v10",
    "EMBEDDED_DISPATCHER": True,
    "REGISTRATION": "open",
    "TRUSTED_PROXIES": 0,
    "CORS_ORIGINS": None,
    "RATE_LIMIT_STORAGE": "memory://",
    "SIGN_IN_ADDRESS_LIMIT": "600 per 15 minutes",
    "SIGN_IN_ACCOUNT_LIMIT": "30 per 15 minutes",
    "SIGN_IN_ATTACK_LIMIT": "100 per hour",
    "SIGN_UP_ADDRESS_LIMIT": "2000 per hour",
    "SIGN_UP_ACCOUNT_LIMIT": "100 per hour",
    "MAX_SOURCES_PER_USER": 10_000,
    "MAX_TOKENS_PER_SOURCE": 100,
    "INGEST_RATE_LIMIT": None,
    "PUBLIC_URL": None,
    "SMTP_URL": None,
    "MAIL_FROM": None,
    "BODY_PREVIEW_BYTES": 4096,
    "DISPATCHER_CONNECTIONS": 32,
    "DIGEST_WINDOW_SECONDS": 5.0,
    "RECOVERY_AFTER_SECONDS": 300,
    "TRAFFIC_RETENTION_DAYS": 14,
    "DELIVERY_RETENTION_DAYS": 30,
    "PENDING_RETENTION_DAYS": 3,
    "SERIES_RETENTION_DAYS": 90,
    "LOG_FORMAT": "text",
    "LOG_LEVEL": "INFO",
}
WHOLE_NUMBERS = [
    ("PORT", 1, 65_535),
    ("WEB_CONCURRENCY", 1, 64),
    ("JWT_ACCESS_TOKEN_EXPIRES", 60, 31_536_000),
    ("TRUSTED_PROXIES", 0, 10),
    ("MAX_SOURCES_PER_USER", 0, 1_000_000),
    ("BODY_PREVIEW_BYTES", 0, 1_048_576),
    ("DISPATCHER_CONNECTIONS", 1, 500),
    ("RECOVERY_AFTER_SECONDS", 0, 86_400),
    ("TRAFFIC_RETENTION_DAYS", 1, 3650),
    ("DELIVERY_RETENTION_DAYS", 1, 3650),
    ("PENDING_RETENTION_DAYS", 1, 3650),
    ("SERIES_RETENTION_DAYS", 1, 3650),
]
LIMITS = [
    "SIGN_IN_ADDRESS_LIMIT",
    "SIGN_IN_ACCOUNT_LIMIT",
    "SIGN_IN_ATTACK_LIMIT",
    "SIGN_UP_ADDRESS_LIMIT",
    "SIGN_UP_ACCOUNT_LIMIT",
    "INGEST_RATE_LIMIT",
]
NO_LIMITS = [
    "many",
    "0 per minute",
    "5",
    "5 per",
    "5 per fortnight",
    "-1/second",
    "1/0 seconds x",
    "5 per 9000000 days",
]
NO_STORAGES = ["memory", "memory://x", "redis://", "mongodb://host", "async+memory://", "file:///tmp", "etcd://host:1"]
NO_ORIGINS = ["panel.example.com", "https://panel.example.com/", "https://*.example.com", "null", "*, https://a.b", ","]
NO_URLS = [
    "discord.com",
    "ftp://discord.com",
    "https://",
    "http://exa mple.com",
    "https://a\nb",
    "javascript:alert(1)",
    "/",
]

GOOD = [
    ("HOST", "0.0.0.0", "0.0.0.0"),
    *[(name, str(number), number) for name, *bounds in WHOLE_NUMBERS for number in bounds],
    ("DIGEST_WINDOW_SECONDS", "0", 0.0),
    ("DIGEST_WINDOW_SECONDS", "0.25", 0.25),
    ("DIGEST_WINDOW_SECONDS", "3600", 3600.0),
    ("JWT_SECRET_KEY", LONG_KEY, LONG_KEY),
    ("JWT_SECRET_KEY", f"\t{LONG_KEY}\n", LONG_KEY),
    ("ENCRYPTION_KEYS", FERNET_KEY, [FERNET_KEY]),
    ("ENCRYPTION_KEYS", f"{FERNET_KEY},\n {OTHER_FERNET_KEY}", [FERNET_KEY, OTHER_FERNET_KEY]),
    ("DISCORD_BOT_TOKEN", "MTk4.Cl2FMQ.ZnCjm1X-_", "MTk4.Cl2FMQ.ZnCjm1X-_"),
    ("DISCORD_API_URL", "http://127.0.0.1:9000/api/v10/", "http://127.0.0.1:9000/api/v10"),
    *[(name, value, value) for name in LIMITS for value in ("1/second", "5 per 15 minutes", "100/hour; 5/minute")],
    ("CORS_ORIGINS", "*", ["*"]),
    (
        "CORS_ORIGINS",
        "https://a.example.com,  http://localhost:3000",
        ["https://a.example.com", "http://localhost:3000"],
    ),
    ("RATE_LIMIT_STORAGE", "memory://", "memory://"),
    ("PUBLIC_URL", "https://traffic.example.com/", "https://traffic.example.com"),
    ("PUBLIC_URL", "http://traffic:8000", "http://traffic:8000"),
    ("MAIL_FROM", "Traffic <traffic@example.com>", "Traffic <traffic@example.com>"),
    ("EMBEDDED_DISPATCHER", "true", True),
    ("EMBEDDED_DISPATCHER", "false", False),
    ("REGISTRATION", "closed", "closed"),
    ("LOG_FORMAT", "json", "json"),
    ("LOG_LEVEL", "debug", "DEBUG"),
    ("LOG_LEVEL", "ERROR", "ERROR"),
]
BAD = [
    *[(name, str(least - 1)) for name, least, _ in WHOLE_NUMBERS],
    *[(name, str(most + 1)) for name, _, most in WHOLE_NUMBERS],
    *[(name, value) for name, *_ in WHOLE_NUMBERS for value in ("many", "1.5", "0x10", "1e2", "nan", "9" * 5000)],
    *[("DIGEST_WINDOW_SECONDS", value) for value in ("-0.1", "3600.1", "nan", "inf", "1e400", "soon", "5s")],
    *[(name, value) for name in LIMITS for value in (*NO_LIMITS, "9" * 5000 + "/second")],
    *[("RATE_LIMIT_STORAGE", value) for value in NO_STORAGES],
    *[("CORS_ORIGINS", value) for value in (*NO_ORIGINS, "https://a.b\nc", "https://é.example.com")],
    *[("EMBEDDED_DISPATCHER", value) for value in ("yes", "1", "on", "maybe")],
    *[("REGISTRATION", value) for value in ("Open", "invite", "true")],
    *[("LOG_FORMAT", value) for value in ("JSON", "xml")],
    *[("LOG_LEVEL", value) for value in ("TRACE", "10", "info,debug")],
    *[(name, value) for name in ("DISCORD_API_URL", "PUBLIC_URL") for value in NO_URLS],
    ("PUBLIC_URL", "https://例え.jp"),
    *[("SMTP_URL", value) for value in ("mail", "http://mail", "smtp://", "smtp://mail:0", "smtp://mail:x")],
    *[("SMTP_URL", value) for value in ("smtp://mail/path", "smtp://mail?tls=no", "smtp://[::1", "smtp:mail")],
    *[
        ("MAIL_FROM", value)
        for value in ("traffic", "a@example.com\nBcc: b@example.com", "<a@b@c>", "Zoë <a@example.com>")
    ],
    ("PUBLIC_URL", "https://traffic.example.com/日本"),
    *[("JWT_SECRET_KEY", value) for value in ("short", "k" * 31, "é" * 15, "\udcff" * 40)],
    *[("ENCRYPTION_KEYS", value) for value in ("short", "k" * 44, f"{FERNET_KEY},", f"{FERNET_KEY} {FERNET_KEY}")],
    *[("ENCRYPTION_KEYS", value) for value in (f"é{FERNET_KEY[1:]}", f"+/{FERNET_KEY[2:]}", f"'{FERNET_KEY}'")],
    *[("DISCORD_BOT_TOKEN", value) for value in ("two words", "two\nlines", "two\tparts", "tök€n", "\x7f")],
    *[
        ("DATABASE_URL", value)
        for value in (
            "app.sqlite3",
            "://",
            "mysql://user:password@host/database",
            "https://example.com",
            "postgresql://user:password@host:port/database",
            "postgresql://[::1/database",
        )
    ],
]
SECRETS_IN_BAD_VALUES = [
    ("JWT_SECRET_KEY", CANARY),
    ("ENCRYPTION_KEYS", f"{FERNET_KEY},{CANARY}"),
    ("DISCORD_BOT_TOKEN", f"{CANARY} {CANARY}"),
    ("RATE_LIMIT_STORAGE", f"redis://:{CANARY}@host:port/0"),
    ("RATE_LIMIT_STORAGE", f"http://:{CANARY}@host"),
    ("CORS_ORIGINS", f"https://user:{CANARY}@host"),
    ("DATABASE_URL", CANARY),
    ("DATABASE_URL", f"mysql://user:{CANARY}@host/database"),
    ("DATABASE_URL", f"postgresql://user:{CANARY}@host:port/database"),
    ("DATABASE_URL", f"postgresql//user:{CANARY}@host"),
    ("DISCORD_API_URL", f"ftp://user:{CANARY}@host"),
    ("PUBLIC_URL", f"user:{CANARY}@host"),
    ("SMTP_URL", f"smtp://user:{CANARY}@host:port"),
    ("SMTP_URL", f"smtp://user:{CANARY}@host"),
]


def refusal(**environ: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        load_settings(environ)
    assert error.value.__suppress_context__
    return str(error.value)


def test_nothing_needs_to_be_set() -> None:
    assert load_settings({}) == DEFAULTS


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_value_counts_as_not_set(empty: str) -> None:
    assert load_settings(dict.fromkeys(SettingsSchema().fields, empty)) == load_settings({})


def test_what_is_no_setting_is_ignored() -> None:
    assert load_settings({"PATH": "/bin", "port": "1", "PORTS": "x"}) == load_settings({})


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8123")
    assert load_settings()["PORT"] == 8123


@pytest.mark.parametrize(("name", "value", "loaded"), GOOD)
def test_a_good_value_is_taken(name: str, value: str, loaded: Any) -> None:
    assert load_settings({name: value}) == load_settings({}) | {name: loaded}


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_in_one_line_that_names_the_setting(name: str, value: str) -> None:
    message = refusal(**{name: value})
    assert message.startswith(f"Unusable setting: {name}: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 200


@pytest.mark.parametrize(("name", "value"), SECRETS_IN_BAD_VALUES)
def test_a_refusal_shows_no_secret(name: str, value: str) -> None:
    assert CANARY not in refusal(**{name: value, "HOST": CANARY})


def test_all_bad_values_are_named_at_once() -> None:
    message = refusal(PORT="x", LOG_FORMAT="xml", JWT_SECRET_KEY=CANARY)
    assert all(f"{name}: " in message for name in ("PORT", "LOG_FORMAT", "JWT_SECRET_KEY"))
    assert CANARY not in message


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", ("mail.example.com", 587, "", "", False)),
        ("smtps://mail.example.com/", ("mail.example.com", 465, "", "", True)),
        ("smtp://post%40example.com:p%2F%3A%40@mail:25", ("mail", 25, "post@example.com", "p/:@", False)),
        ("smtp://[::1]:2525", ("::1", 2525, "", "", False)),
    ],
)
def test_a_mail_server_is_read_from_its_url(url: str, server: tuple[Any, ...]) -> None:
    others = {"MAIL_FROM": "traffic@example.com", "PUBLIC_URL": "https://traffic.example.com"}
    assert load_settings({"SMTP_URL": url} | others)["SMTP_URL"] == server


def test_mail_needs_a_sender_and_an_address_for_its_links() -> None:
    url = "smtp://mail.example.com"
    assert refusal(SMTP_URL=url).endswith("SMTP_URL: Needs MAIL_FROM and PUBLIC_URL too.")
    assert refusal(SMTP_URL=url, MAIL_FROM="a@example.com").endswith("SMTP_URL: Needs PUBLIC_URL too.")


def test_every_setting_is_described() -> None:
    for name, field in SettingsSchema().fields.items():
        assert name.isupper()
        assert field.metadata["description"].endswith(".")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_postgresql_is_always_driven_by_psycopg_3(scheme: str) -> None:
    url = load_settings({"DATABASE_URL": f"{scheme}://user:p%40ss@host:5433/database?sslmode=require"})["DATABASE_URL"]
    assert url.render_as_string(hide_password=False) == (
        "postgresql+psycopg://user:p%40ss@host:5433/database?sslmode=require"
    )
    assert "p%40ss" not in str(url)


@pytest.mark.parametrize("value", ["sqlite:///app.sqlite3", "sqlite:////var/lib/app.sqlite3"])
def test_sqlite_is_taken_as_given(value: str) -> None:
    assert load_settings({"DATABASE_URL": value})["DATABASE_URL"] == make_url(value)


@pytest.mark.parametrize("value", ["sqlite:///app.sqlite3", "postgresql://user:password@host/database"])
def test_database_errors_hide_their_parameters(value: str) -> None:
    values = flask_config(load_settings({"DATABASE_URL": value}))
    assert values["SQLALCHEMY_ENGINE_OPTIONS"]["hide_parameters"] is True
    assert values["SQLALCHEMY_DATABASE_URI"] == values["DATABASE_URL"]
    assert values["PORT"] == 8000


def test_a_secret_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "instance" / "key"
    secret = secret_from_file(path)
    assert len(secret.encode()) >= 32
    assert secret_from_file(path) == secret
    assert path.read_text().strip() == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_secrets_of_two_places_differ(tmp_path: Path) -> None:
    assert secret_from_file(tmp_path / "a") != secret_from_file(tmp_path / "b")


def test_a_secret_that_was_put_there_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{LONG_KEY}\n")
    assert secret_from_file(path) == LONG_KEY


@pytest.mark.parametrize("kept", ["", "\n", CANARY])
@pytest.mark.parametrize("setting", ["JWT_SECRET_KEY", "ENCRYPTION_KEYS"])
def test_a_kept_secret_that_cannot_be_used_is_refused(tmp_path: Path, setting: str, kept: str) -> None:
    path = tmp_path / "key"
    path.write_text(kept)
    with pytest.raises(ConfigurationError) as error:
        secret_from_file(path, setting)
    assert str(path) in str(error.value)
    assert CANARY not in str(error.value)


def test_kept_encryption_keys_are_made_and_replaced_as_those_of_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    (made,) = secret_from_file(path, "ENCRYPTION_KEYS")
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(f"{FERNET_KEY}, {made}\n")
    assert secret_from_file(path, "ENCRYPTION_KEYS") == [FERNET_KEY, made]


def at_once(calls: int, call: Callable[[], str]) -> list[str]:
    barrier = Barrier(calls)

    def wait_and_call(_: int) -> str:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(calls) as threads:
        return list(threads.map(wait_and_call, range(calls)))


def test_all_that_start_together_get_the_same_secret(tmp_path: Path) -> None:
    for number in range(50):
        path = tmp_path / str(number) / "key"
        secrets = at_once(8, partial(secret_from_file, path))
        assert set(secrets) == {path.read_text()}
        assert list(path.parent.iterdir()) == [path]


# The module alone: importing the whole application would take seconds.
PROGRAM = """
import pathlib, runpy, sys
secret_from_file = runpy.run_path(sys.argv[1])["secret_from_file"]
print("ready", flush=True)
input()
print(secret_from_file(pathlib.Path(sys.argv[2])), end="")
"""


def test_processes_that_start_together_get_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "instance" / "key"
    command = [sys.executable, "-c", PROGRAM, config.__file__, str(path)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    assert {process.stdout.readline() for process in processes} == {"ready\n"}
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=30)[0] for process in processes]
    assert set(answers) == {path.read_text()}


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, False),
        ({"HOST": "::1"}, False),
        ({"HOST": "0.0.0.0"}, True),
        ({"HOST": "10.0.0.1", "REGISTRATION": "first"}, False),
        ({"HOST": "10.0.0.1", "REGISTRATION": "closed"}, False),
    ],
)
def test_a_service_that_others_can_reach_is_advised_against_open_registration(settings, warned):
    hint = advice(load_settings(settings))
    assert bool(hint) == warned
    assert not warned or "REGISTRATION=first" in hint
