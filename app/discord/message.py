"""Builds Discord messages of digests, always within Discord's limits. Pure.

The limits are those of https://discord.com/developers/docs/resources/message#embed-object-embed-limits. Lengths are
in UTF-16 code units, the larger of the two counts that Discord's clients and servers use.
"""

import math
import unicodedata
from collections.abc import Iterable, Set
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from app.digests import AlertChange, Digest, Kind, KindKey, Notice, Recovery, Reminder, to_datetime, to_milliseconds
from app.policies import Notes

NO_NOTES = Notes()
# Lengths of all free texts, chosen to keep a message within every limit.
MAX_PATH_LENGTH = 150
MAX_HOST_LENGTH = 60
MAX_METHOD_LENGTH = 20
MAX_SOURCE_LENGTH = 100
MAX_LINK_LENGTH = 2048
# In a table, a host fits one line of a phone; method and path fit two lines, or one of a desktop.
MAX_TABLE_HOST_LENGTH = 34
MAX_TABLE_PATH_LENGTH = 62


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

NEW_MARK = "+"
FIRST_TIME = "first time in 30 days"
SEVERAL_HOSTS = "several hosts"
RECOVERY_COLOUR = 0x2EAA62
ALERT_WORDS = {"errorRate": "Failing", "p95": "Slow", "silence": "Silent"}
# Discord's message flag for no push notification.
SUPPRESS_NOTIFICATIONS = 1 << 12
HALF_DAY_MILLISECONDS = 12 * 3_600_000
MINUTE_MILLISECONDS = 60_000

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Unicode categories of characters that are invisible, reverse text or break lines.
HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Invisible characters of other categories: Unicode's Default_Ignorable_Code_Point, and the braille blank.
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0").union(
    *(map(chr, range(first, last + 1)) for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xFFF0, 0xFFF8))),
    map(chr, range(0xE0000, 0xE1000)),
)
# Both are kept within an emoji: one turns the symbol before it into an emoji, the other joins two emoji.
EMOJI_SELECTOR = "\ufe0f"
ZERO_WIDTH_JOINER = "\u200d"
# Besides a symbol, the selector or a skin tone may end the first of two joined emoji.
EMOJI_ENDINGS = frozenset("\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
# A keycap emoji is one of KEYCAPS, the selector and this mark.
KEYCAPS = frozenset("0123456789#*")
KEYCAP = "\N{COMBINING ENCLOSING KEYCAP}"


def build_message(
    level: str, source_name: str, digest: Digest | Notice, notes: Notes = NO_NOTES, public_url: str | None = None
) -> dict[str, Any]:
    """The JSON body for Discord's "create message" and "execute webhook", without nonce.

    With ``public_url``, its title links to the console's page of the last record of the most frequent kind.
    Contains level, method, host, path, status, source name, times and counts; never headers, bodies or queries.
    """
    style = LEVELS[level]
    if isinstance(digest, Recovery):
        return _message(_recovery_embed(style, source_name, digest)) | {"flags": SUPPRESS_NOTIFICATIONS}
    if isinstance(digest, Reminder):
        return _mentioning(notes.mention_role_id, _message(_reminder_embed(style, source_name, digest)))
    if isinstance(digest, AlertChange):
        return _alert_message(style, source_name, digest)
    shown = digest.shown
    last_at = max(kind.last_at for kind in digest.kinds.values())
    message = _message(
        {
            "author": {"name": _plain(source_name, MAX_SOURCE_LENGTH)},
            **(_one_kind(style, shown[0]) if digest.kind_count == 1 else _table(digest, shown, notes.new_kinds)),
            "color": style.colour,
            "timestamp": to_datetime(last_at).isoformat(timespec="milliseconds"),
        }
    )
    if (link := _link(public_url, shown[0])) is not None:
        message["embeds"][0]["url"] = link
    if digest.event_count > 1:
        message["content"] = _summary(style, digest, shown)
    if said := _said(notes, is_table=digest.kind_count > 1):
        message["embeds"][0]["description"] += f"\n{said}"
    return _mentioning(notes.mention_role_id, message)


def _said(notes: Notes, is_table: bool) -> str:
    """What is new, why a message came now, and how many events the policy left out."""
    parts = []
    if notes.new_kinds:
        parts.append(f"{NEW_MARK}: {FIRST_TIME}" if is_table else FIRST_TIME.capitalize())
    if notes.threshold:
        parts.append(f"{notes.threshold.events:,} within {_long_duration(notes.threshold.seconds * 1000)}")
    if notes.ignored:
        since = f" since {_stamp(to_milliseconds(notes.ignored_since))}" if notes.ignored_since else ""
        parts.append(f"{notes.ignored:,} ignored by this webhook's policy{since}")
    return " · ".join(parts)


def _mentioning(role_id: str | None, message: dict[str, Any]) -> dict[str, Any]:
    """``message`` with a mention that pings the role and nothing else."""
    if not role_id:
        return message
    content = f"<@&{role_id}> {message.get('content', '')}".strip()
    return message | {"content": content, "allowed_mentions": {"parse": [], "roles": [role_id]}}


def _link(public_url: str | None, kind: Kind) -> str | None:
    if not public_url or not kind.record_id:
        return None
    link = f"{public_url}/console/records/{kind.record_id}"
    return link if len(link) <= MAX_LINK_LENGTH else None


def build_test_message(source_name: str, level: str) -> dict[str, Any]:
    """The JSON body of a test send: names the level and the traffic source."""
    style = LEVELS[level]
    return _message(
        {
            "title": f"{style.symbol} Test message: it works",
            "description": f"{style.word} events of {_code(source_name, MAX_SOURCE_LENGTH)} will be posted here.",
            "color": style.colour,
        }
    )


def _message(embed: dict[str, Any]) -> dict[str, Any]:
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _reminder_embed(level: Level, source_name: str, reminder: Reminder) -> dict[str, Any]:
    word = level.word.lower()
    return {
        "author": {"name": _plain(source_name, MAX_SOURCE_LENGTH)},
        "title": f"{level.symbol} Still going on: {word} events",
        "description": f"**{reminder.events:,} {word} {_plural(reminder.events, 'event')}** since "
        f"{_stamp(reminder.began_at)}",
        "color": level.colour,
    }


def _alert_message(level: Level, source_name: str, alert: AlertChange) -> dict[str, Any]:
    """Pings nobody: only an incident's first message and its reminders do. The end is silent, like a recovery."""
    title, description = _silence(alert) if alert.kind == "silence" else _measurement(alert)
    if not alert.is_firing:
        description += f"\nIt fired {_stamp(alert.fired_at or alert.at)}"
    embed = {
        "author": {"name": _plain(source_name, MAX_SOURCE_LENGTH)},
        "title": f"{level.symbol} {ALERT_WORDS[alert.kind]}: {title}" if alert.is_firing else f"🟢 Over: {title}",
        "description": description,
        "color": level.colour if alert.is_firing else RECOVERY_COLOUR,
    }
    return _message(embed) if alert.is_firing else _message(embed) | {"flags": SUPPRESS_NOTIFICATIONS}


def _silence(alert: AlertChange) -> tuple[str, str]:
    limit = f"fires after {_long_duration(alert.minutes * MINUTE_MILLISECONDS)}"
    if not alert.is_firing:
        return "requests come again", limit.capitalize()
    silence = round(alert.value * MINUTE_MILLISECONDS)
    return f"no request for {_long_duration(silence)}", f"None since {_stamp(alert.at - silence)}; {limit}"


def _measurement(alert: AlertChange) -> tuple[str, str]:
    is_rate = alert.kind == "errorRate"
    value, threshold = (measured(number, "%" if is_rate else "ms") for number in (alert.value, alert.threshold or 0.0))
    requests = f"{alert.requests:,} {_plural(alert.requests, 'request')}"
    window = f"in {_long_duration(alert.minutes * MINUTE_MILLISECONDS)} before {_stamp(alert.at)}"
    return (
        f"{'error rate' if is_rate else 'p95'} {value}",
        f"**{value}** {'fatal among' if is_rate else 'at percentile 95 of'} {requests} {window}; fires at {threshold}",
    )


def measured(value: float, unit: str) -> str:
    if value >= 1000:  # Percentiles are known within ten per cent.
        return f"{value:,.0f} {unit}"
    number = f"{value:.2f}".rstrip("0").rstrip(".") if value >= 1 else f"{value:.2g}"
    return f"{number} {unit}"


def _recovery_embed(level: Level, source_name: str, recovery: Recovery) -> dict[str, Any]:
    word = level.word.lower()
    silence = recovery.noticed_at - recovery.ended_at
    quiet = f" for {_long_duration(silence)}" if silence > 0 else ""
    end_style = _style(recovery.ended_at, recovery.began_at)
    return {
        "author": {"name": _plain(source_name, MAX_SOURCE_LENGTH)},
        "title": f"🟢 Recovered: no {word} event{quiet}",
        "description": f"**{recovery.events:,} {word} {_plural(recovery.events, 'event')}** from "
        f"{_stamp(recovery.began_at)} to {_stamp(recovery.ended_at, style=end_style)}",
        "color": RECOVERY_COLOUR,
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
    """An embed of one kind: endpoint, status and duration; also the times, if there are several events."""
    line = f"{level.symbol} **{level.word}** · {_status(kind.status)} · {_elapsed(kind)}"
    return {"title": _endpoint([kind]), "description": f"{line}\n{_span([kind])}" if kind.count > 1 else line}


def _table(digest: Digest, shown: list[Kind], new: Set[KindKey]) -> dict[str, Any]:
    """An embed of several kinds: a table of statuses, counts and durations, grouped by host and path.

    ``new`` kinds are marked.
    """
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
            lines += ["", _code_line(host or SEVERAL_HOSTS, MAX_TABLE_HOST_LENGTH)]
        for alike in of_host:
            if len(endpoints) > 1:
                lines.append(_code_line(f"{alike[0].method.upper()} {_path(alike)}", MAX_TABLE_PATH_LENGTH))
            lines += [_row(kind, kind.key in new) for kind in alike]
    table = "\n".join(lines)
    is_one_endpoint = len({kind.key[:2] for kind in kinds}) == 1
    title = _endpoint(kinds) if is_one_endpoint else _hosts(hosts, shown)
    return {"title": title, "description": f"```\n{table}\n```{_span(kinds)}"}


def _row(kind: Kind, is_new: bool) -> str:
    status = f"{NEW_MARK if is_new else ' '} {kind.status}"
    return f"{status:<6}{kind.count:>9,}{duration(kind.typical):>9}{duration(kind.slowest):>9}"


def _endpoint(kinds: list[Kind]) -> str:
    """The method, host and path that all ``kinds`` share."""
    method, host = _plain(kinds[0].method.upper(), MAX_METHOD_LENGTH), _common(kind.host for kind in kinds)
    where = f"{_plain(host, MAX_HOST_LENGTH) if host else ''}{_plain(_path(kinds), MAX_PATH_LENGTH)}"
    place = _code(f"{method} {where}", MAX_METHOD_LENGTH + MAX_HOST_LENGTH + MAX_PATH_LENGTH + 1)
    return place if host or sum(kind.count for kind in kinds) == 1 else f"{place} on {SEVERAL_HOSTS}"


def _hosts(hosts: set[str], shown: list[Kind]) -> str:
    """The host of the most frequent kind, and how many there are besides."""
    if "" in hosts:
        return SEVERAL_HOSTS.capitalize()
    more = f" and {len(hosts) - 1:,} other {_plural(len(hosts) - 1, 'host')}" if len(hosts) > 1 else ""
    return f"{_code(shown[0].host, MAX_HOST_LENGTH)}{more}"


def _path(kinds: list[Kind]) -> str:
    return _common(kind.exact_path for kind in kinds) or kinds[0].path


def _common(values: Iterable[str]) -> str:
    """The value that all ``values`` share; empty if they differ."""
    different = set(values)
    return different.pop() if len(different) == 1 else ""


def _span(kinds: list[Kind]) -> str:
    first, last = min(kind.first_at for kind in kinds), max(kind.last_at for kind in kinds)
    return f"First {_stamp(first, style=_style(first, last))}, last {_stamp(last, style='R')}"


def _style(moment: int, other: int) -> str:
    """Discord's timestamp style: the time alone if the other time, less than half a day away, shows the date."""
    return "t" if abs(other - moment) < HALF_DAY_MILLISECONDS else "f"


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _elapsed(kind: Kind) -> str:
    if kind.count == 1:
        return duration(kind.slowest)
    return f"{duration(kind.typical)} typical, {duration(kind.slowest)} at most"


def duration(milliseconds: float) -> str:
    """The duration in at most eight characters, the width of a table's column."""
    if milliseconds < 1000:
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{math.floor(milliseconds + 0.5)} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    if milliseconds < 5_400_000:
        return f"{milliseconds / 60_000:.1f} min"
    return f"{milliseconds / 3_600_000:.1f} h" if milliseconds < 360_000_000 else "> 100 h"


def _long_duration(milliseconds: float) -> str:
    """The duration in the largest unit that yields at least two."""
    seconds = round(milliseconds / 1000)
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}s"
    return f"{seconds} {_plural(seconds, 'second')}"


def _stamp(milliseconds: int, style: str = "f") -> str:
    return f"<t:{milliseconds // 1000}:{style}>"


def _code(text: str, limit: int) -> str:
    """Inline code, in which Discord renders no markdown, mentions or links."""
    return f"`{_code_line(text, limit)}`"


def _code_line(text: str, limit: int) -> str:
    return _plain(text, limit).replace("`", "ˋ")


def _plain(text: str, limit: int) -> str:
    """One line of 1 to ``limit`` UTF-16 code units, without invisible or reversing characters.

    A longer text loses its middle, since a path's start and end identify it best.
    """
    line = visible(text).strip() or "-"
    return line if length(line) <= limit else visible(_without_middle(line, limit))


def visible(text: str) -> str:
    """``text`` with REPLACEMENT for each invisible character."""
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
