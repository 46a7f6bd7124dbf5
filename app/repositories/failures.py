"""Explains database errors in fixed sentences, which contain no SQL and no stored values."""

import sqlite3
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

UNMIGRATED = "The database is not migrated: run `flask --app wsgi db upgrade`."
UNREACHABLE = "The database did not answer."
DISK_FULL = "The database's disk is full: free some room."
READ_ONLY = "The database cannot be written to."
LOCKED = "The database stayed locked for too long."
BUSY = "All connections to the database are in use."
RECOVERING = "The database is starting or stopping."

# By SQLSTATE or its class: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL = {
    "08": UNREACHABLE,
    "25006": READ_ONLY,
    "3D000": "The database does not exist.",
    "28": "The database refused the user or the password of DATABASE_URL.",
    "42P01": UNMIGRATED,
    "42703": UNMIGRATED,
    "53100": DISK_FULL,
    "53300": "The database has no connection left.",
    "55P03": LOCKED,
    "57P": RECOVERING,
}
_REFUSALS = {
    "authentication failed": _POSTGRESQL["28"],
    "no pg_hba.conf entry": _POSTGRESQL["28"],
    "too many clients": _POSTGRESQL["53300"],
    "does not exist": "The database, or the user, of DATABASE_URL does not exist.",
    "starting up": RECOVERING,
    "shutting down": RECOVERING,
}
_SQLITE = {
    "SQLITE_FULL": DISK_FULL,
    "SQLITE_IOERR": "The database's disk cannot be read or written.",
    "SQLITE_CANTOPEN": "The database file cannot be opened: look at its folder, and who may write there.",
    "SQLITE_READONLY": READ_ONLY,
    "SQLITE_BUSY": LOCKED,
    "SQLITE_LOCKED": LOCKED,
    "SQLITE_NOTADB": "The database file is no SQLite database.",
    "SQLITE_CORRUPT": "The database file is damaged.",
}


def reason(error: BaseException) -> str | None:
    """The failure of the database as a whole; None if the error concerns only one statement."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, PoolTimeout):
        return BUSY
    if isinstance(cause, psycopg.Error):
        return _of_postgresql(cause, isinstance(error, DBAPIError) and error.connection_invalidated)
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", None) or ""
        if name == "SQLITE_ERROR" and str(cause).startswith(("no such table", "no such column")):
            return UNMIGRATED
        return next((meaning for start, meaning in _SQLITE.items() if name.startswith(start)), None)
    return None


def _of_postgresql(cause: psycopg.Error, connection_lost: bool) -> str | None:
    if cause.sqlstate is None:
        if connection_lost or isinstance(cause, psycopg.OperationalError):
            # A failed connection attempt has no SQLSTATE, only the server's message.
            return next((meaning for words, meaning in _REFUSALS.items() if words in str(cause)), UNREACHABLE)
        return None
    for length in (5, 3, 2):
        if meaning := _POSTGRESQL.get(cause.sqlstate[:length]):
            return meaning
    return None


def explain(error: BaseException) -> str:
    """One sentence for a log line, without the error's own text, which may quote parameters."""
    if meaning := reason(error):
        return meaning
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    return f"{type(cause).__name__}{f' ({code})' if code else ''}."
