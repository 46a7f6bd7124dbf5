"""Classifies Discord's answers into outcomes. Pure.

Follows https://discord.com/developers/docs/topics/rate-limits and
https://discord.com/developers/docs/topics/opcodes-and-status-codes#json.
"""

import enum
import math
import re
from dataclasses import dataclass
from typing import Any

import orjson

MAX_REASON_LENGTH = 300
UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Outcome(enum.Enum):
    """The outcome of an attempt: what to do with the message, its webhook or the bot."""

    DELIVERED = "delivered"
    RATE_LIMITED = "rate limited"
    RETRY = "retry"
    SUSPEND = "suspend the webhook"
    DISCARD = "discard the message"
    STOP_BOT = "stop the bot"
    NOT_SENT = "not sent"


@dataclass(frozen=True)
class Answer:
    """Discord's answer. ``retry_after`` and ``pause`` are in seconds; ``reason`` holds no secret."""

    outcome: Outcome
    reason: str | None = None
    status: int | None = None
    discord_code: int | None = None
    message_id: str | None = None
    retry_after: float = 0.0
    scope: str | None = None
    # Seconds until the destination's used-up rate limit resets.
    pause: float = 0.0

    @property
    def is_invalid_request(self) -> bool:
        """Whether Discord counts the answer towards its ban for invalid requests."""
        return self.status in (401, 403, 429) and self.scope != "shared"


# JSON error codes that are more specific than their HTTP status, with the remedy.
SUSPENDING = {
    10003: "Discord does not know this channel. Check the channel ID, and that the bot is a member of its server.",
    10015: "Discord does not know this webhook: it was deleted. Create a new one and set its URL here.",
    40058: "This is a forum channel, where a webhook must name a thread: add ?thread_id= to the URL.",
    50001: "The bot has no access to this channel. Invite it to the server and give it View Channel.",
    50013: "The bot lacks Send Messages or Embed Links in this channel. Grant both in the channel's permissions.",
    50027: "The token of this webhook URL is wrong or was reset. Copy the URL again from Discord.",
    160005: "This thread is locked. Unlock it, or set another address.",
    220001: "This webhook posts to a forum channel: add ?thread_id= to the URL.",
}
DISCARDING = {40005, 50006, 50035, 200000, 240000}
RETRYING_STATUSES = {408, 500, 502, 503, 504}
RETRYING = {20028, 20029, 40062, 130000}
STOPPING = {40001, 50014}
BOT_REFUSED = "Discord refused the bot token. Set a valid DISCORD_BOT_TOKEN and restart the service."
BOT_MISSING = "No bot token is set: posting to a channel ID needs DISCORD_BOT_TOKEN, a Discord webhook URL does not."
UNREADABLE = (
    "The key this webhook URL was encrypted with is not among ENCRYPTION_KEYS. Set the URL anew; or add the key "
    "and restart the dispatcher."
)
BANNED = "Discord blocks this host for too many refused requests (429 without Retry-After)."


def classify(status: int, headers: Any, data: bytes, by_bot: bool, secret: str | None = None) -> Answer:
    """Classify an answer. ``secret`` is redacted from the reason, in case Discord repeats it."""
    response = _json_object(data)
    code = _code(response.get("code"))
    pause = _pause(headers)
    if 200 <= status < 300:
        return Answer(Outcome.DELIVERED, status=status, message_id=_snowflake(response.get("id")), pause=pause)
    if status == 429:
        return _rate_limited(headers, response, code)
    outcome, remedy = _refusal(status, code, by_bot)
    reason = remedy or _said(status, code, response.get("message"), secret)
    return Answer(outcome, reason, status=status, discord_code=code, pause=pause)


def _refusal(status: int, code: int | None, by_bot: bool) -> tuple[Outcome, str | None]:
    if code in RETRYING or status in RETRYING_STATUSES:
        return Outcome.RETRY, None
    if code in SUSPENDING:
        return Outcome.SUSPEND, f"{SUSPENDING[code]} (Discord: {status}, code {code})"
    if code in DISCARDING:
        return Outcome.DISCARD, None
    if by_bot and (status == 401 or code in STOPPING):
        return Outcome.STOP_BOT, BOT_REFUSED
    if status in (401, 403, 404):
        return Outcome.SUSPEND, None
    return (Outcome.DISCARD if 400 <= status < 500 else Outcome.RETRY), None


def _rate_limited(headers: Any, response: dict[str, Any], code: int | None) -> Answer:
    retry_after = _seconds(response.get("retry_after"))
    if retry_after is None:
        retry_after = _seconds(headers.get("Retry-After"))
    if retry_after is None:
        return Answer(Outcome.STOP_BOT, BANNED, status=429, discord_code=code)
    scope = headers.get("X-RateLimit-Scope") or ("global" if response.get("global") is True else "user")
    reason = f"Discord's rate limit ({scope[:10]}): next try in {retry_after:g} s."
    return Answer(Outcome.RATE_LIMITED, reason, status=429, discord_code=code, retry_after=retry_after, scope=scope)


def _pause(headers: Any) -> float:
    """Seconds until the destination's used-up rate limit resets; 0 while requests are left."""
    if headers.get("X-RateLimit-Remaining") != "0":
        return 0.0
    return _seconds(headers.get("X-RateLimit-Reset-After")) or 0.0


def _seconds(value: Any) -> float | None:
    """Seconds from a header or body, at most a day; None if ``value`` is not a duration."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return min(seconds, 86_400.0) if math.isfinite(seconds) and seconds >= 0 else None


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        response = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return response if isinstance(response, dict) else {}


def _snowflake(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value) else None


def _code(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 2**31 else None


def _said(status: int, code: int | None, message: Any, secret: str | None) -> str:
    text = f"Discord answered {status}"
    if code:
        text += f", code {code}"
    if isinstance(message, str) and message:
        text += f": {message.replace(secret, '[redacted]') if secret else message}"
    return UNPRINTABLE.sub(" ", text)[:MAX_REASON_LENGTH]
