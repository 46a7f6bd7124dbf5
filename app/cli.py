"""Commands of ``flask --app wsgi``."""

import os
import signal
from datetime import timedelta
from typing import Any

import click
from flask import Flask, current_app

from app.discord.client import DiscordClient
from app.dispatcher.loop import Dispatcher
from app.dispatcher.wakeup import start_waker
from app.extensions import db


def init_app(app: Flask) -> None:
    app.cli.add_command(dispatch)


def make_dispatcher(config: dict[str, Any], **options: Any) -> Dispatcher:
    """A dispatcher as the settings want it."""
    client = DiscordClient(
        api_url=config["DISCORD_API_URL"],
        bot_token=config["DISCORD_BOT_TOKEN"],
        user_agent_url=config["PUBLIC_URL"] or f"http://{config['HOST']}:{config['PORT']}",
        version=config["API_VERSION"],
        connections=config["DISPATCHER_CONNECTIONS"],
    )
    window = timedelta(seconds=config["DIGEST_WINDOW_SECONDS"])
    return Dispatcher(client, config["DISPATCHER_CONNECTIONS"], window, link=config["PUBLIC_URL"], **options)


@click.command()
@click.option("--parent", type=int, help="Stop when this process, the one that started it, is gone.")
def dispatch(parent: int | None) -> None:
    """Send what is owed to Discord, until SIGTERM. Any number may run over one PostgreSQL."""
    dispatcher = make_dispatcher(current_app.config)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: dispatcher.stop())
    start_waker(db.engine, dispatcher.wake, dispatcher.stopping)
    dispatcher.run(is_orphan=lambda: parent is not None and os.getppid() != parent)
