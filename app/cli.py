"""Commands of ``flask --app wsgi``: dispatch, purge, rotate-keys and db."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError

from app.delivery.counting import Counting
from app.delivery.dispatcher import Dispatcher
from app.delivery.retention import Retention
from app.delivery.wakeup import start_waker
from app.discord.client import DiscordClient
from app.extensions import db, init_migrations
from app.models.columns import utcnow
from app.repositories import webhook_tokens
from app.repositories.failures import reason


class Migrations(click.Command):
    """Flask-Migrate's commands, imported only when one is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        init_migrations(current_app)
        group = current_app.cli.commands["db"]
        group.invoke = one_line()(group.invoke)  # type: ignore[method-assign]
        return group.make_context(info_name, args, parent, **extra)


@contextmanager
def one_line() -> Iterator[None]:
    """Report a failure of the database as a whole in one line instead of a traceback."""
    try:
        yield
    except DBAPIError as error:
        if meaning := reason(error):
            url = db.engine.url.set(drivername=db.engine.url.get_backend_name())
            raise click.ClickException(f"{meaning} DATABASE_URL: {url.render_as_string()}") from None
        raise


def init_app(app: Flask) -> None:
    app.cli.add_command(Migrations("db", help="Perform database migrations."))
    app.cli.add_command(dispatch)
    app.cli.add_command(purge)
    app.cli.add_command(rotate_keys)


def make_dispatcher(config: Mapping[str, Any], **options: Any) -> Dispatcher:
    """A dispatcher configured by the settings; ``options`` go to its constructor."""
    return Dispatcher(
        DiscordClient.from_config(config),
        config["DISPATCHER_CONNECTIONS"],
        window=timedelta(seconds=config["DIGEST_WINDOW_SECONDS"]),
        retention=Retention.from_config(config),
        recovery_after=timedelta(seconds=config["RECOVERY_AFTER_SECONDS"]) or None,
        public_url=config["PUBLIC_URL"],
        **options,
    )


@click.command()
@click.option("--parent", type=int, help="Id of the parent process; the dispatcher stops when it is gone.")
@with_appcontext
def dispatch(parent: int | None) -> None:
    """Send pending deliveries to Discord, until SIGTERM. Several dispatchers may share one PostgreSQL."""
    dispatcher = make_dispatcher(current_app.config)
    if parent:
        # Ctrl-C reaches all processes of a terminal; this one is stopped by its parent.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop_by_signal(dispatcher, *([signal.SIGTERM] if parent else [signal.SIGTERM, signal.SIGINT]))
    start_waker(db.engine, dispatcher.wake, dispatcher.stopping)
    dispatcher.run(is_orphan=lambda: parent is not None and os.getppid() != parent)


@click.command()
@with_appcontext
def purge() -> None:
    """Delete records and settled deliveries that are past their retention, now."""
    retention, now, counting = Retention.from_config(current_app.config), utcnow(), Counting()
    with one_line(), click.progressbar(length=retention.count_purgeable(now), label="Purging") as progress:
        # Records are purged only once the series count them.
        while counting.count_series():
            db.session.commit()
        db.session.commit()
        for step in retention.steps(now):
            while purged := step():
                db.session.commit()
                progress.update(purged)
            db.session.commit()


@click.command()
@with_appcontext
def rotate_keys() -> None:
    """Encrypt all stored secrets under the first of ENCRYPTION_KEYS. Safe to interrupt and to repeat."""
    done = webhook_tokens.Progress()
    with one_line(), click.progressbar(length=webhook_tokens.count(), label="Rotating") as progress:
        while (step := webhook_tokens.renew_batch(done)).id:
            db.session.commit()
            progress.update(step.seen - done.seen)
            done = step
    click.echo(f"{done.seen} secrets: {done.renewed} encrypted anew, {done.unreadable} under none of the keys.")
    if done.unreadable:
        raise click.ClickException("Keep the old keys: add the missing one and run this again, or set the URLs anew.")


def stop_by_signal(dispatcher: Dispatcher, *signals: signal.Signals) -> None:
    """Stop the dispatcher from a thread that waits for the signals: a handler could run while the lock is held."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        signal.sigwait(signals)
        dispatcher.stop()

    Thread(target=wait, name="signals", daemon=True).start()
