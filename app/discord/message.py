"""Facts in, Discord message out. Pure, and never over one of Discord's limits.

Limits are those of https://discord.com/developers/docs/resources/message#embed-object-embed-limits, counted
here in UTF-16 code units, the larger of the two ways Discord's clients and servers count.
"""

import unicodedata
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from app.discord.digest import Digest, Group, Recovery, to_datetime

MAX_EMBEDS = 10
# Bounds of the only free texts, so that ten embeds stay under 6,000 characters.
MAX_PATH = 200
MAX_SOURCE = 100


@dataclass(frozen=True)
class Level:
    word: str
    colour: int
    symbol: str


LEVELS = {
    "fatal": Level("Fatal", 0xD93F3F, "🔴"),
    "warning": Level("Warning", 0xE8A317, "🟠"),
    "info": Level("Info", 0x3B82F6, "🔵"),
}

RECOVERED = 0x2EAA62
# Message flag: nobody's phone rings for it.
SUPPRESS_NOTIFICATIONS = 1 << 12

# Unicode categories that show nothing, reverse text or break lines; but one of them joins emoji.
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True)
class Notice:
    """What a message is about. ``link`` is the public address of the service, if it has one."""

    level: str
    source_name: str
    delivery_id: str
    facts: Digest | Recovery
    link: str | None = None


def build_message(notice: Notice) -> dict[str, Any]:
    """The JSON body of Discord's "create message" and "execute webhook", without nonce.

    Holds level, method, path, status, source name, times and counts; never headers, bodies or query strings.
    """
    if isinstance(notice.facts, Recovery):
        return _message([_recovery_embed(notice, notice.facts)]) | {"flags": SUPPRESS_NOTIFICATIONS}
    shown, hidden = notice.facts.groups[:MAX_EMBEDS], notice.facts.groups[MAX_EMBEDS:]
    message = _message([_embed(notice, group) for group in shown])
    if notice.facts.event_count > 1:
        message["content"] = _summary(notice.level, notice.facts, hidden)
    return message


def build_test_message(source_name: str, level: str) -> dict[str, Any]:
    """What a test send posts: enough to see that messages of this level arrive here."""
    style = LEVELS[level]
    return _message(
        [
            {
                "title": f"{style.symbol} Test message: it works",
                "description": f"{style.word} events of {_code(source_name, MAX_SOURCE)} will be posted here.",
                "color": style.colour,
            }
        ]
    )


def _message(embeds: list[dict[str, Any]]) -> dict[str, Any]:
    return {"embeds": embeds, "allowed_mentions": {"parse": []}}


def _recovery_embed(notice: Notice, recovery: Recovery) -> dict[str, Any]:
    word = LEVELS[notice.level].word.lower()
    return {
        "author": {"name": _plain(notice.source_name, MAX_SOURCE)},
        "title": f"🟢 Recovered · no {word} events any more",
        "description": f"{recovery.events:,} {word} {_plural(recovery.events, 'event')} over "
        f"{_duration(recovery.ended_at - recovery.began_at)}, the last {_stamp(recovery.ended_at, style='R')}.",
        "color": RECOVERED,
        "footer": {"text": f"Delivery {notice.delivery_id}"},
    }


def _summary(level_name: str, digest: Digest, hidden: tuple[Group, ...]) -> str:
    level = LEVELS[level_name]
    text = f"{level.symbol} **{digest.event_count:,} {level.word.lower()} events**"
    more_events = digest.more_events + sum(group.count for group in hidden)
    more_groups = digest.more_groups + len(hidden)
    if more_groups:
        text += f", +{more_events:,} more in {more_groups:,} {_plural(more_groups, 'group')}"
    return text


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _embed(notice: Notice, group: Group) -> dict[str, Any]:
    level = LEVELS[notice.level]
    embed: dict[str, Any] = {
        "author": {"name": _plain(notice.source_name, MAX_SOURCE)},
        "title": f"{level.symbol} {level.word} · {_status(group.status)}",
        "description": f"**{group.method.upper()}** {_code(group.path, MAX_PATH)}",
        "color": level.colour,
        "fields": [
            _field("Elapsed", _elapsed(group)),
            _field("Count", f"{group.count:,}"),
            _field("First seen", _stamp(group.first_at)),
            _field("Last seen", _stamp(group.last_at, style="R")),
        ],
        "footer": {"text": f"Delivery {notice.delivery_id}"},
        "timestamp": to_datetime(group.last_at).isoformat(timespec="milliseconds"),
    }
    if notice.link and _is_public(notice.link):
        # Embeds that share a url show only the first, so each links to a record of its own.
        embed["url"] = f"{notice.link}/http-traffic-records/record/{group.record_id}"
    return embed


def _is_public(link: str) -> bool:
    """Discord refuses a message whole for a link to a host without a dot."""
    return "." in (urlsplit(link).hostname or "")


def _field(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value, "inline": True}


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _elapsed(group: Group) -> str:
    if group.count == 1:
        return _duration(group.slowest)
    return f"{_duration(group.typical)} typical, {_duration(group.slowest)} at most"


def _duration(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds / 60_000:.1f} min" if milliseconds < 1e9 else "more than 11 days"


def _stamp(milliseconds: int, style: str = "f") -> str:
    return f"<t:{milliseconds // 1000}:{style}>"


def _code(text: str, limit: int) -> str:
    """Inline code, in which Discord renders neither markdown nor mentions nor links."""
    return f"`{_plain(text, limit).replace('`', 'ˋ')}`"


def _plain(text: str, limit: int) -> str:
    """One line of at most ``limit`` UTF-16 units, at least one, nothing in it hidden or reversed."""
    line = "".join(map(_shown, text)).strip() or "-"
    return line if length(line) <= limit else f"{_cut(line, limit - 1)}…"


def _shown(character: str) -> str:
    hidden = unicodedata.category(character) in HIDDEN and character != ZERO_WIDTH_JOINER
    return "\N{REPLACEMENT CHARACTER}" if hidden else character


def _cut(text: str, limit: int) -> str:
    return text.encode("utf-16-le")[: limit * 2].decode("utf-16-le", errors="ignore")


def length(text: str) -> int:
    """The length in UTF-16 code units."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
