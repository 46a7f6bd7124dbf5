"""A digest in, a Discord message out. Pure, and never over one of Discord's limits.

Limits are those of https://discord.com/developers/docs/resources/message#embed-object-embed-limits, counted
here in UTF-16 code units, the larger of the two ways Discord's clients and servers count.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from app.digests import Digest, Kind, Recovery, to_datetime

# Kinds of events that a message shows: as many as fit a phone's screen.
MAX_KINDS_SHOWN = 10
# Bounds of the only free texts, which keep a message under every limit.
MAX_PATH = 150
MAX_HOST = 60
MAX_METHOD = 20
MAX_SOURCE = 100
# Of a table's lines, too: a host fits one line of a phone, method and path fit two, or one of a desktop.
MAX_TABLE_HOST = 34
MAX_TABLE_PATH = 62


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

SEVERAL_HOSTS = "several hosts"
RECOVERED = 0x2EAA62
# Message flag: nobody's phone rings for it.
SUPPRESS_NOTIFICATIONS = 1 << 12
HALF_A_DAY = 12 * 3_600_000

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Unicode categories that show nothing, reverse text or break lines.
HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Characters of other categories that show nothing: Unicode's Default_Ignorable_Code_Point, and the braille blank.
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0").union(
    *(map(chr, range(first, last + 1)) for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xFFF0, 0xFFF8))),
    map(chr, range(0xE0000, 0xE1000)),
)
# Two of them are kept within an emoji: one makes an emoji of the symbol before it, the other joins two.
EMOJI_SELECTOR = "\ufe0f"
ZERO_WIDTH_JOINER = "\u200d"
# What may end the first of two joined emoji besides a symbol: that selector and the skin tones.
EMOJI_ENDINGS = frozenset("\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
# "1", the selector and this mark are the emoji of a key.
KEYCAPS = frozenset("0123456789#*")
KEYCAP = "\N{COMBINING ENCLOSING KEYCAP}"


def build_message(level: str, source_name: str, digest: Digest | Recovery) -> dict[str, Any]:
    """The JSON body of Discord's "create message" and "execute webhook", without nonce.

    Holds level, method, host, path, status, source name, times and counts; never headers, bodies or query strings.
    """
    style = LEVELS[level]
    if isinstance(digest, Recovery):
        return _message(_recovery_embed(style, source_name, digest)) | {"flags": SUPPRESS_NOTIFICATIONS}
    shown = digest.ranked[:MAX_KINDS_SHOWN]
    last_at = max(kind.last_at for kind in digest.kinds.values())
    message = _message(
        {
            "author": {"name": _plain(source_name, MAX_SOURCE)},
            **(_one_kind(style, shown[0]) if digest.kind_count == 1 else _table(digest, shown)),
            "color": style.colour,
            "timestamp": to_datetime(last_at).isoformat(timespec="milliseconds"),
        }
    )
    if digest.event_count > 1:
        message["content"] = _summary(style, digest, shown)
    return message


def build_test_message(source_name: str, level: str) -> dict[str, Any]:
    """What a test send posts: enough to see that messages of this level arrive here."""
    style = LEVELS[level]
    return _message(
        {
            "title": f"{style.symbol} Test message: it works",
            "description": f"{style.word} events of {_code(source_name, MAX_SOURCE)} will be posted here.",
            "color": style.colour,
        }
    )


def _message(embed: dict[str, Any]) -> dict[str, Any]:
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _recovery_embed(level: Level, source_name: str, recovery: Recovery) -> dict[str, Any]:
    word = level.word.lower()
    silence = recovery.noticed_at - recovery.ended_at
    quiet = f" for {_long_duration(silence)}" if silence > 0 else ""
    end_style = _style(recovery.ended_at, recovery.began_at)
    return {
        "author": {"name": _plain(source_name, MAX_SOURCE)},
        "title": f"🟢 Recovered: no {word} event{quiet}",
        "description": f"**{recovery.events:,} {word} {_plural(recovery.events, 'event')}** from "
        f"{_stamp(recovery.began_at)} to {_stamp(recovery.ended_at, style=end_style)}",
        "color": RECOVERED,
    }


def _summary(level: Level, digest: Digest, shown: list[Kind]) -> str:
    text = f"{level.symbol} **{digest.event_count:,} {level.word.lower()} events**"
    more_events = digest.event_count - sum(kind.count for kind in shown)
    more_kinds = digest.kind_count - len(shown)
    if more_kinds:
        text += f", +{more_events:,} more in {more_kinds:,} {_plural(more_kinds, 'group')}"
    return text


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _one_kind(level: Level, kind: Kind) -> dict[str, Any]:
    """Where it happened, then what; how often and since when only where it happened more than once."""
    line = f"{level.symbol} **{level.word}** · {_status(kind.status)} · {_elapsed(kind)}"
    return {"title": _endpoint([kind]), "description": f"{line}\n{_span([kind])}" if kind.count > 1 else line}


def _table(digest: Digest, shown: list[Kind]) -> dict[str, Any]:
    """Where all of it happened, then by host and path the statuses, each with how often and how long it took."""
    kinds = list(digest.kinds.values())
    hosts = {kind.host for kind in kinds}
    endpoints: dict[tuple[str, str], list[Kind]] = {}
    for kind in shown:
        endpoints.setdefault((kind.method, kind.path), []).append(kind)
    by_host: dict[str, list[list[Kind]]] = {}
    for alike in endpoints.values():
        by_host.setdefault(_common(kind.host for kind in alike), []).append(alike)
    lines = [f"{'status':<6}{'count':>9}{'typical':>9}{'slowest':>9}"]
    for host, of_host in by_host.items():
        if len(hosts) > 1:
            lines += ["", _code_line(host or SEVERAL_HOSTS, MAX_TABLE_HOST)]
        for alike in of_host:
            if len(endpoints) > 1:
                lines.append(_code_line(f"{alike[0].method.upper()} {_path(alike)}", MAX_TABLE_PATH))
            lines += map(_row, alike)
    table = "\n".join(lines)
    is_one_endpoint = len({kind.key[:2] for kind in kinds}) == 1
    title = _endpoint(kinds) if is_one_endpoint else _hosts(hosts, shown)
    return {"title": title, "description": f"```\n{table}\n```{_span(kinds)}"}


def _row(kind: Kind) -> str:
    return f"  {kind.status:<4}{kind.count:>9,}{_duration(kind.typical):>9}{_duration(kind.slowest):>9}"


def _endpoint(kinds: list[Kind]) -> str:
    """Method, host and path that all of them share."""
    method, host = _plain(kinds[0].method.upper(), MAX_METHOD), _common(kind.host for kind in kinds)
    where = f"{_plain(host, MAX_HOST) if host else ''}{_plain(_path(kinds), MAX_PATH)}"
    place = _code(f"{method} {where}", MAX_METHOD + MAX_HOST + MAX_PATH + 1)
    return place if host or sum(kind.count for kind in kinds) == 1 else f"{place} on {SEVERAL_HOSTS}"


def _hosts(hosts: set[str], shown: list[Kind]) -> str:
    """The host of the most frequent kind, and how many there are besides."""
    if "" in hosts:
        return SEVERAL_HOSTS.capitalize()
    more = f" and {len(hosts) - 1:,} other {_plural(len(hosts) - 1, 'host')}" if len(hosts) > 1 else ""
    return f"{_code(shown[0].host, MAX_HOST)}{more}"


def _path(kinds: list[Kind]) -> str:
    return _common(kind.exact_path for kind in kinds) or kinds[0].path


def _common(values: Iterable[str]) -> str:
    """The one value of all; empty where there are several."""
    different = set(values)
    return different.pop() if len(different) == 1 else ""


def _span(kinds: list[Kind]) -> str:
    first, last = min(kind.first_at for kind in kinds), max(kind.last_at for kind in kinds)
    return f"First {_stamp(first, style=_style(first, last))}, last {_stamp(last, style='R')}"


def _style(moment: int, other: int) -> str:
    """The time of day is enough where a date is told with it, and less than half a day lies between."""
    return "t" if abs(other - moment) < HALF_A_DAY else "f"


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _elapsed(kind: Kind) -> str:
    if kind.count == 1:
        return _duration(kind.slowest)
    return f"{_duration(kind.typical)} typical, {_duration(kind.slowest)} at most"


def _duration(milliseconds: float) -> str:
    """In at most eight characters, the width of a table's column."""
    if milliseconds < 1000:
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    if milliseconds < 5_400_000:
        return f"{milliseconds / 60_000:.1f} min"
    return f"{milliseconds / 3_600_000:.1f} h" if milliseconds < 360_000_000 else "> 100 h"


def _long_duration(milliseconds: float) -> str:
    """In the largest unit of which there are two or more."""
    seconds = round(milliseconds / 1000)
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}s"
    return f"{seconds} {_plural(seconds, 'second')}"


def _stamp(milliseconds: int, style: str = "f") -> str:
    return f"<t:{milliseconds // 1000}:{style}>"


def _code(text: str, limit: int) -> str:
    """Inline code, in which Discord renders neither markdown nor mentions nor links."""
    return f"`{_code_line(text, limit)}`"


def _code_line(text: str, limit: int) -> str:
    return _plain(text, limit).replace("`", "ˋ")


def _plain(text: str, limit: int) -> str:
    """One line of at most ``limit`` UTF-16 units, at least one, nothing in it hidden or reversed.

    A longer text is cut in its middle: what a path begins and ends with tells most.
    """
    line = _visible(text).strip() or "-"
    return line if length(line) <= limit else _visible(_without_middle(line, limit))


def _visible(text: str) -> str:
    """The text with each character that shows nothing replaced by one that does."""
    shown: list[str] = []
    for character, after in zip(text, text[1:] + " ", strict=False):
        before = shown[-1] if shown else " "
        shown.append(character if _is_visible(character, before, after) else REPLACEMENT)
    return "".join(shown)


def _is_visible(character: str, before: str, after: str) -> bool:
    if character.isascii():
        return character.isprintable()
    if character == EMOJI_SELECTOR:
        return _is_symbol(before) or (before in KEYCAPS and after == KEYCAP)
    if character == ZERO_WIDTH_JOINER:
        return (before in EMOJI_ENDINGS or _is_symbol(before)) and _is_symbol(after)
    return character not in INVISIBLE and unicodedata.category(character) not in HIDDEN_CATEGORIES


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) == "So" and character not in INVISIBLE and character != REPLACEMENT


def _without_middle(text: str, limit: int) -> str:
    units = text.encode("utf-16-le")
    head, tail = units[: limit // 2 * 2], units[-((limit - 1) // 2) * 2 :]
    return "…".join(part.decode("utf-16-le", errors="ignore") for part in (head, tail))


def length(text: str) -> int:
    """The length in UTF-16 code units."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
