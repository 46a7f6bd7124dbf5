"""Builds Discord messages of digests and notices, always within Discord's limits. Pure.

The limits are those of https://discord.com/developers/docs/resources/message#embed-object-embed-limits.
"""

from dataclasses import replace
from typing import Any

from app.digests import AlertChange, Digest, Kind, Notice, Recovery, Reminder, to_datetime, to_milliseconds
from app.discord.digest_embed import NEW_MARK, digest_embed
from app.discord.figures import long_duration, plural, stamp
from app.discord.levels import LEVELS, Level
from app.discord.notice_embed import notice_embed
from app.discord.text import code, plain
from app.policies import Notes

NO_NOTES = Notes()
# In UTF-16 code units.
MAX_SOURCE_LENGTH = 100
# In characters.
MAX_LINK_LENGTH = 2048
FIRST_TIME = "first time in 30 days"
# Discord's message flag for no push notification.
SUPPRESS_NOTIFICATIONS = 1 << 12


def build_message(
    level: str, source_name: str, digest: Digest | Notice, notes: Notes = NO_NOTES, public_url: str | None = None
) -> dict[str, Any]:
    """The JSON body for Discord's "create message" and "execute webhook", without nonce.

    With ``public_url``, its title links to the console's page of the last record of the most frequent kind.
    Contains level, method, host, path, status, source name, times and counts; never headers, bodies or queries.
    """
    author = {"author": {"name": plain(source_name, MAX_SOURCE_LENGTH)}}
    if isinstance(digest, Digest):
        message = _digest_message(_level_of(digest), author, digest, notes, public_url)
    else:
        message = _message(author | notice_embed(LEVELS[level], digest))
    if _tells_an_end(digest):
        message["flags"] = SUPPRESS_NOTIFICATIONS
    # An alert pings nobody, nor does a recovery.
    pings = notes.mention_role_id if isinstance(digest, Digest | Reminder) else None
    return _mentioning(pings, message)


def _tells_an_end(digest: Digest | Notice) -> bool:
    return isinstance(digest, Recovery) or (isinstance(digest, AlertChange) and not digest.is_firing)


def _digest_message(
    level: Level, author: dict[str, Any], digest: Digest, notes: Notes, public_url: str | None
) -> dict[str, Any]:
    shown = digest.shown
    last_at = max(kind.last_at for kind in digest.kinds.values())
    embed = author | digest_embed(level, digest, notes.new_kinds)
    embed |= {"color": level.colour, "timestamp": to_datetime(last_at).isoformat(timespec="milliseconds")}
    if (link := _link(public_url, shown[0])) is not None:
        embed["url"] = link
    if said := _said(notes, is_table=digest.kind_count > 1):
        embed["description"] += f"\n{said}"
    message = _message(embed)
    if digest.event_count > 1:
        message["content"] = _summary(level, digest, shown)
    return message


def _level_of(digest: Digest) -> Level:
    """That of its events, which the webhook's may not be any more; of several, the most severe with all words."""
    levels = [level for name, level in LEVELS.items() if name in digest.levels]
    return replace(levels[0], word=" and ".join(level.word for level in levels).capitalize())


def _said(notes: Notes, is_table: bool) -> str:
    """The last line: which kinds are new, the threshold that was reached, and the number of ignored events."""
    parts = []
    if notes.new_kinds:
        parts.append(f"{NEW_MARK}: {FIRST_TIME}" if is_table else FIRST_TIME.capitalize())
    if notes.threshold:
        parts.append(f"{notes.threshold.events:,} within {long_duration(notes.threshold.seconds * 1000)}")
    if notes.ignored:
        since = f" since {stamp(to_milliseconds(notes.ignored_since))}" if notes.ignored_since else ""
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
            "description": f"{style.word} events of {code(source_name, MAX_SOURCE_LENGTH)} will be posted here.",
            "color": style.colour,
        }
    )


def _message(embed: dict[str, Any]) -> dict[str, Any]:
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _summary(level: Level, digest: Digest, shown: list[Kind]) -> str:
    text = f"{level.symbol} **{digest.event_count:,} {level.word.lower()} events**"
    more_events = digest.event_count - sum(kind.count for kind in shown)
    more_kinds = digest.kind_count - len(shown)
    if more_kinds:
        text += f", +{more_events:,} more in {more_kinds:,} {plural(more_kinds, 'group')}"
    return text
