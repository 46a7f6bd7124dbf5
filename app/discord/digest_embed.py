"""Builds the embed of a digest: one kind as a line, several as a table. Pure."""

from collections.abc import Iterable, Set
from http import HTTPStatus
from typing import Any

from app.digests import Digest, Kind, KindKey
from app.discord.figures import duration, plural, stamp, stamp_style
from app.discord.levels import Level
from app.discord.text import code, code_line, plain

# Lengths in UTF-16 code units, chosen to keep an embed within every limit.
MAX_PATH_LENGTH = 150
MAX_HOST_LENGTH = 60
MAX_METHOD_LENGTH = 20
# In a table, a host fits one line of a phone; method and path fit two lines, or one of a desktop.
MAX_TABLE_HOST_LENGTH = 34
MAX_TABLE_PATH_LENGTH = 62
# Marks a new kind in a table.
NEW_MARK = "+"
SEVERAL_HOSTS = "several hosts"


def digest_embed(level: Level, digest: Digest, new: Set[KindKey]) -> dict[str, Any]:
    """Title and description. ``new`` kinds are marked in a table."""
    return _one_kind(level, digest.shown[0]) if digest.kind_count == 1 else _table(digest, new)


def _one_kind(level: Level, kind: Kind) -> dict[str, Any]:
    """The embed of one kind: endpoint, status and duration; also the times, if there are several events."""
    line = f"{level.symbol} **{level.word}** · {_status(kind.status)} · {_elapsed(kind)}"
    return {"title": _endpoint([kind]), "description": f"{line}\n{_span([kind])}" if kind.count > 1 else line}


def _table(digest: Digest, new: Set[KindKey]) -> dict[str, Any]:
    """The embed of several kinds: a table of statuses, counts and durations, grouped by host and path."""
    kinds, shown = list(digest.kinds.values()), digest.shown
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
            lines += ["", code_line(host or SEVERAL_HOSTS, MAX_TABLE_HOST_LENGTH)]
        for alike in of_host:
            if len(endpoints) > 1:
                lines.append(code_line(f"{alike[0].method.upper()} {_path(alike)}", MAX_TABLE_PATH_LENGTH))
            lines += [_row(kind, kind.key in new) for kind in alike]
    table = "\n".join(lines)
    is_one_endpoint = len({kind.key[:2] for kind in kinds}) == 1
    title = _endpoint(kinds) if is_one_endpoint else _hosts(hosts, shown)
    return {"title": title, "description": f"```\n{table}\n```{_span(kinds)}"}


def _row(kind: Kind, is_new: bool) -> str:
    status = f"{NEW_MARK if is_new else ' '} {kind.status}"
    return f"{status:<6}{kind.count:>9,}{typical(kind):>9}{duration(kind.slowest):>9}"


def _endpoint(kinds: list[Kind]) -> str:
    """The method, host and path that all ``kinds`` share."""
    method, host = plain(kinds[0].method.upper(), MAX_METHOD_LENGTH), _common(kind.host for kind in kinds)
    where = f"{plain(host, MAX_HOST_LENGTH) if host else ''}{plain(_path(kinds), MAX_PATH_LENGTH)}"
    place = code(f"{method} {where}", MAX_METHOD_LENGTH + MAX_HOST_LENGTH + MAX_PATH_LENGTH + 1)
    return place if host or sum(kind.count for kind in kinds) == 1 else f"{place} on {SEVERAL_HOSTS}"


def _hosts(hosts: set[str], shown: list[Kind]) -> str:
    """The host of the most frequent kind, and how many there are besides."""
    if "" in hosts:
        return SEVERAL_HOSTS.capitalize()
    more = f" and {len(hosts) - 1:,} other {plural(len(hosts) - 1, 'host')}" if len(hosts) > 1 else ""
    return f"{code(shown[0].host, MAX_HOST_LENGTH)}{more}"


def _path(kinds: list[Kind]) -> str:
    return _common(kind.exact_path for kind in kinds) or kinds[0].path


def _common(values: Iterable[str]) -> str:
    """The value that all ``values`` share; empty if they differ."""
    different = set(values)
    return different.pop() if len(different) == 1 else ""


def _span(kinds: list[Kind]) -> str:
    first, last = min(kind.first_at for kind in kinds), max(kind.last_at for kind in kinds)
    return f"First {stamp(first, style=stamp_style(first, last))}, last {stamp(last, style='R')}"


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _elapsed(kind: Kind) -> str:
    if kind.count == 1:
        return duration(kind.slowest)
    return f"{typical(kind)} typical, {duration(kind.slowest)} at most"


def typical(kind: Kind) -> str:
    """The median duration of several events; the lowest bucket of durations tells nothing below a millisecond."""
    return "≤ 1 ms" if kind.count > 1 and kind.typical <= 1 else duration(kind.typical)
