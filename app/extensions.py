"""The extensions, made once and bound to the application by ``create_app``."""

import sqlite3
from typing import Any

from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, MetaData, event
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Base of every model. Constraints get predictable names, so migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# expire_on_commit would cost a SELECT for every object a view answers with.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
# SQLite alters a table by copying it, which Alembic calls a batch.
migrate = Migrate(render_as_batch=True, compare_type=True)
jwt = JWTManager()


@event.listens_for(Engine, "connect")
def configure_sqlite(connection: Any, _record: object) -> None:
    """WAL lets readers and one writer work at once; the default synchronous=FULL keeps every commit on disk."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
