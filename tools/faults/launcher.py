"""``python -m tools.faults.launcher "before sending"``: runs ``dispatch``, which kills or stops itself at that step.

Wraps the application's functions from outside, since the application has no hooks for faults.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from flask.cli import main

from app.delivery import dispatcher
from app.discord.client import DiscordClient
from app.extensions import db
from app.repositories import claims, evaluations


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def pause(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def before(owner: Any, step: str, strike: Callable[..., None]) -> None:
    original = getattr(owner, step)

    def struck(*args: Any, **kwargs: Any) -> Any:
        strike()
        return original(*args, **kwargs)

    setattr(owner, step, struck)


def after(owner: Any, step: str, strike: Callable[..., None]) -> None:
    """``strike`` is called with what ``step`` returned."""
    original = getattr(owner, step)

    def struck(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        strike(result)
        return result

    setattr(owner, step, struck)


def once(strike: Callable[[], None]) -> Callable[[], None]:
    strikes = [strike]
    return lambda: strikes.pop()() if strikes else None


STEPS: dict[str, Callable[[], None]] = {
    "while an alert fires": lambda: before(evaluations, "put_for_level", die),
    "after an alert fired": lambda: after(evaluations, "put_for_level", lambda _: after(db.session, "commit", die)),
    "while claiming": lambda: after(claims, "claim", lambda taken: die() if taken else None),
    "before sending": lambda: before(DiscordClient, "send", die),
    "after sending": lambda: after(DiscordClient, "send", die),
    "while settling": lambda: after(dispatcher, "settle_all", die),
    "after settling": lambda: after(dispatcher, "settle_all", lambda _: after(db.session, "commit", die)),
    "paused before sending": lambda: before(DiscordClient, "send", once(pause)),
}

if __name__ == "__main__":
    STEPS[sys.argv[1]]()
    sys.argv = ["flask", "--app", "wsgi", "dispatch"]
    main()
