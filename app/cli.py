"""Commands of ``flask --app wsgi``."""

import os
import signal
from collections.abc import Mapping
from datetime import timedelta
from threading import Thread
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from app.discord.client import DiscordClient
from app.dispatcher.loop import Dispatcher
from app.dispatcher.wakeup import start_waker
from app.extensions import db
from app.models.columns import utcnow
from app.retention import Retention


def init_app(app: Flask) -> None:
    app.cli.add_command(dispatch)
    app.cli.add_command(purge)


def make_dispatcher(config: Mapping[str, Any], **options: Any) -> Dispatcher:
    """A dispatcher as the settings want it."""
    return Dispatcher(
        DiscordClient.from_config(config),
        config["DISPATCHER_CONNECTIONS"],
        window=timedelta(seconds=config["DIGEST_WINDOW_SECONDS"]),
        retention=Retention.from_config(config),
        recovery_after=timedelta(seconds=config["RECOVERY_AFTER_SECONDS"]) or None,
        link=config["PUBLIC_URL"],
        **options,
    )


@click.command()
@click.option("--parent", type=int, help="Stop when this process, the one that started it, is gone.")
@with_appcontext
def dispatch(parent: int | None) -> None:
    """Send what is owed to Discord, until SIGTERM. Any number may run over one PostgreSQL."""
    dispatcher = make_dispatcher(current_app.config)
    if parent:
        # Ctrl-C reaches all processes of a terminal; the parent stops this one when its time comes.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop_by_signal(dispatcher, *([signal.SIGTERM] if parent else [signal.SIGTERM, signal.SIGINT]))
    start_waker(db.engine, dispatcher.wake, dispatcher.stopping)
    dispatcher.run(is_orphan=lambda: parent is not None and os.getppid() != parent)


@click.command()
@with_appcontext
def purge() -> None:
    """Delete traffic records and settled deliveries that are past their retention, now."""
    retention, now = Retention.from_config(current_app.config), utcnow()
    with click.progressbar(length=retention.count_purgeable(now), label="Purging") as progress:
        while purged := retention.purge_bite(now):
            db.session.commit()
            progress.update(purged)


def stop_by_signal(dispatcher: Dispatcher, *signals: signal.Signals) -> None:
    """A thread takes the signals: a handler would interrupt the dispatcher while it holds the lock ``stop`` needs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        signal.sigwait(signals)
        dispatcher.stop()

    Thread(target=wait, name="signals", daemon=True).start()
