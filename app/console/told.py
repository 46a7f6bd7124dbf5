"""What the message of a delivery tells, from its stored digest. Pure."""

import re
from dataclasses import dataclass

from markupsafe import Markup

from app.console.display import moment
from app.digests import AlertChange, Digest, Kind, Notice, Recovery, Reminder, loads, to_datetime
from app.discord.message import build_message

WORDS: dict[type, str] = {Recovery: "Recovery", Reminder: "Reminder", AlertChange: "Alert"}
# Discord's markdown for bold text, and for times.
MARK = re.compile(r"\*\*(?P<bold>[^*]+)\*\*|<t:(?P<seconds>-?[0-9]+):\w>")


@dataclass(frozen=True)
class TellsEvents:
    """Counted events: the kinds that are shown, most frequent first, and how many more there are."""

    kinds: list[Kind]
    more_events: int
    more_kinds: int


@dataclass(frozen=True)
class TellsNotice:
    """A message without events: its ``word``, its title, and its lines."""

    word: str
    title: str
    lines: list[Markup]


Told = TellsEvents | TellsNotice


def told(level: str, digest: str) -> Told | None:
    """None if the digest cannot be read."""
    try:
        found = loads(digest)
    except ValueError:
        return None
    return _events(found) if isinstance(found, Digest) else _notice(level, found)


def _events(digest: Digest) -> TellsEvents:
    shown = digest.shown
    return TellsEvents(shown, digest.event_count - sum(kind.count for kind in shown), digest.kind_count - len(shown))


def _notice(level: str, notice: Notice) -> TellsNotice:
    """In the words of the message in Discord, without its symbol."""
    (embed,) = build_message(level, "", notice)["embeds"]
    title = embed["title"].partition(" ")[2]
    return TellsNotice(WORDS[type(notice)], title, [_marked(line) for line in embed["description"].split("\n")])


def _marked(text: str) -> Markup:
    parts, end = Markup(), 0
    for mark in MARK.finditer(text):
        bold, seconds = mark["bold"], mark["seconds"]
        shown = Markup("<strong>{}</strong>").format(bold) if bold else moment(to_datetime(int(seconds) * 1000), "near")
        parts += text[end : mark.start()] + shown
        end = mark.end()
    return parts + text[end:]
