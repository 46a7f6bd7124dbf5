"""How values are shown: times, numbers, durations, and reported text, which may be hostile."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask
from markupsafe import Markup

from app.digests import as_glob, fold_path
from app.discord.digest_embed import typical
from app.discord.figures import duration, measured
from app.discord.levels import LEVELS
from app.discord.text import visible
from app.models.columns import utcnow

# The characters of a long text that are always shown at its end, since a path's end tells it from others.
TAIL_LENGTH = 18

MAX_INDENTED_LENGTH = 100_000


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(
        moment=moment,
        ago=ago,
        number=number,
        duration=duration,
        typical=typical,
        measured=measured,
        percent=percent,
        path=path,
        shown=shown,
        json=json_text,
        fold=fold_path,
        path_filter=path_filter,
    )
    app.jinja_env.globals.update(level_words={name: level.word for name, level in LEVELS.items()})


def path_filter(folded: str) -> str:
    """The filter of records for the paths that are folded to ``folded``, and no others that contain it."""
    glob = as_glob(folded)
    return glob if "*" in glob else f"={glob}"


def iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(value: datetime | None, style: str = "full") -> Markup:
    """A time in UTC, which the console's script shows in the reader's zone.

    ``style`` is full, time, or near: a time, with its date unless that is today.
    """
    if value is None:
        return Markup("–")
    utc = value.astimezone(UTC)
    text = {"full": f"{utc:%-d %b %Y, %H:%M:%S}", "time": f"{utc:%H:%M}", "near": _near(utc)}[style]
    exact = iso(value)
    return Markup('<time datetime="{}" data-style="{}" title="{}">{} UTC</time>').format(exact, style, exact, text)


def _near(utc: datetime) -> str:
    return f"{utc:%H:%M}" if utc.date() == utcnow().date() else f"{utc:%-d %b, %H:%M}"


def ago(value: datetime) -> Markup:
    """How long ago it was, with the exact time on hover."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(value), iso(value), in_words(value))


def in_words(value: datetime) -> str:
    seconds = max(0, round((utcnow() - value).total_seconds()))
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= size:
            return f"{seconds // size:,} {unit}{'' if seconds // size == 1 else 's'} ago"
    return "just now"


def number(value: float) -> str:
    return f"{value:,}"


def percent(share: float) -> str:
    """A share of 1. What is above none and below a tenth of a per cent says so."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.1f} %"


def path(text: str) -> Markup:
    """A path that the style sheet cuts in the middle where it does not fit; whole on hover."""
    seen = visible(text)
    head, tail = (seen[:-TAIL_LENGTH], seen[-TAIL_LENGTH:]) if len(seen) > 2 * TAIL_LENGTH else (seen, "")
    return Markup('<bdi class="path" title="{}"><span>{}</span><span>{}</span></bdi>').format(seen, head, tail)


def shown(text: str) -> Markup:
    """One line of text of others, without invisible and reversing characters."""
    return Markup("<bdi>{}</bdi>").format(visible(text))


def phrase(status: int) -> str:
    """HTTP's words for a status; empty if it has none."""
    return HTTPStatus(status).phrase if status in {known.value for known in HTTPStatus} else ""


def json_text(text: str) -> str:
    """Stored JSON, indented; a JSON string, such as a cut body, as its text. Each line without hidden characters."""
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    shown = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    # Deeply nested values take many times their length when they are indented.
    lines = (shown if len(shown) <= MAX_INDENTED_LENGTH else text).split("\n")
    return "\n".join(visible(line.expandtabs(4)) for line in lines)
