"""One request to Discord, and what its answer means.

The meanings are those of https://discord.com/developers/docs/topics/rate-limits and
https://discord.com/developers/docs/topics/opcodes-and-status-codes#json.
"""

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self

import orjson
import urllib3

from app.discord.address import Address

# Together, with the five addresses Discord's name has, they stay under a dispatcher's lease.
CONNECT_TIMEOUT = 2.5
READ_TIMEOUT = 10.0
BODY_TIMEOUT = 5.0
MAX_REASON = 300
MAX_ANSWER_BYTES = 262_144
READ_AT_ONCE = 65_536
UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Verdict(enum.Enum):
    """What to do with a message after a try."""

    DELIVERED = "delivered"
    RATE_LIMITED = "rate limited"
    RETRY = "retry"
    SUSPEND = "suspend the webhook"
    DISCARD = "discard the message"
    STOP_BOT = "stop the bot"
    NOT_SENT = "not sent"


@dataclass(frozen=True)
class Outcome:
    """What Discord said. Durations are seconds; ``reason`` is fit to show and to store."""

    verdict: Verdict
    reason: str | None = None
    status: int | None = None
    discord_code: int | None = None
    message_id: str | None = None
    retry_after: float = 0.0
    scope: str | None = None
    # The limit is used up: no further request to this destination for so long.
    pause: float = 0.0

    @property
    def is_invalid_request(self) -> bool:
        """Whether Discord counts it towards the ban for invalid requests."""
        return self.status in (401, 403, 429) and self.scope != "shared"


# JSON error codes that mean more than their HTTP status, with a remedy in words.
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


class DiscordClient:
    """Posts messages over kept-alive connections. Safe to share between threads.

    ``user_agent_url`` is the address Discord asks every client to name in its User-Agent.
    """

    def __init__(
        self, api_url: str, bot_token: str | None, user_agent_url: str, version: str, connections: int = 1
    ) -> None:
        self.api_url = api_url
        self.bot_token = bot_token
        self.headers = {
            "Content-Type": "application/json",
            "User-Agent": f"DiscordBot ({user_agent_url}, {version})",
        }
        self.pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(
            api_url=config["DISCORD_API_URL"],
            bot_token=config["DISCORD_BOT_TOKEN"],
            user_agent_url=config["PUBLIC_URL"] or f"http://{config['HOST']}:{config['PORT']}",
            version=config["API_VERSION"],
            connections=config["DISPATCHER_CONNECTIONS"],
        )

    def send(self, address: Address, message: dict[str, Any], nonce: str) -> Outcome:
        """Post ``message`` once and classify the answer. Never raises for what the network or Discord does.

        ``nonce`` (at most 25 characters) lets Discord recognise a repeat; webhook URLs have no such thing.
        """
        if address.token is None and self.bot_token is None:
            return Outcome(Verdict.STOP_BOT, BOT_MISSING)
        if address.token is not None and not address.token:
            return Outcome(Verdict.SUSPEND, UNREADABLE)
        url, headers, body = self._request(address, message, nonce)
        try:
            answer = self.pool.request(
                "POST", url, headers=headers, body=orjson.dumps(body), redirect=False, preload_content=False
            )
            data = _read(answer)
        except urllib3.exceptions.HTTPError as error:
            return Outcome(Verdict.RETRY, _network_reason(error))
        by_bot = address.token is None
        secret = self.bot_token if by_bot else address.token
        return classify(answer.status, answer.headers, data, by_bot, secret)

    def _request(self, address: Address, message: dict[str, Any], nonce: str) -> tuple[str, dict[str, str], Any]:
        """URL, headers and body; the URL is built from the address's parts, never taken from the user."""
        if address.token is None:
            headers = self.headers | {"Authorization": f"Bot {self.bot_token}"}
            body = message | {"nonce": nonce, "enforce_nonce": True}
            return f"{self.api_url}/channels/{address.id}/messages", headers, body
        thread = f"&thread_id={address.thread_id}" if address.thread_id is not None else ""
        return f"{self.api_url}/webhooks/{address.id}/{address.token}?wait=true{thread}", self.headers, message


def _read(answer: urllib3.BaseHTTPResponse) -> bytes:
    """The body, of bounded length. That of a success may break off: the status alone says enough.

    Raises urllib3's HTTPError where any other breaks off.
    """
    try:
        data = _read_until(answer, monotonic() + BODY_TIMEOUT)
    except urllib3.exceptions.HTTPError:
        answer.close()
        if not 200 <= answer.status < 300:
            raise
        data = b""
    finally:
        answer.release_conn()
    return data


def _read_until(answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    data = b""
    while chunk := answer.read1(READ_AT_ONCE):
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            answer.close()
            break
        if monotonic() > deadline:
            raise urllib3.exceptions.ProtocolError("The answer does not end.")
    return data


def classify(status: int, headers: Any, data: bytes, by_bot: bool, secret: str | None = None) -> Outcome:
    """What an answer of Discord means. ``secret`` is kept out of the reason, should Discord repeat it."""
    answer = _json_object(data)
    code = _code(answer.get("code"))
    pause = _pause(headers)
    if 200 <= status < 300:
        return Outcome(Verdict.DELIVERED, status=status, message_id=_snowflake(answer.get("id")), pause=pause)
    if status == 429:
        return _rate_limited(headers, answer, code)
    verdict, remedy = _refusal(status, code, by_bot)
    reason = remedy or _said(status, code, answer.get("message"), secret)
    return Outcome(verdict, reason, status=status, discord_code=code, pause=pause)


def _refusal(status: int, code: int | None, by_bot: bool) -> tuple[Verdict, str | None]:
    if code in RETRYING or status in RETRYING_STATUSES:
        return Verdict.RETRY, None
    if code in SUSPENDING:
        return Verdict.SUSPEND, f"{SUSPENDING[code]} (Discord: {status}, code {code})"
    if code in DISCARDING:
        return Verdict.DISCARD, None
    if by_bot and (status == 401 or code in STOPPING):
        return Verdict.STOP_BOT, BOT_REFUSED
    if status in (401, 403, 404):
        return Verdict.SUSPEND, None
    return (Verdict.DISCARD if 400 <= status < 500 else Verdict.RETRY), None


def _rate_limited(headers: Any, answer: dict[str, Any], code: int | None) -> Outcome:
    retry_after = _seconds(answer.get("retry_after"))
    if retry_after is None:
        retry_after = _seconds(headers.get("Retry-After"))
    if retry_after is None:
        return Outcome(Verdict.STOP_BOT, BANNED, status=429, discord_code=code)
    scope = headers.get("X-RateLimit-Scope") or ("global" if answer.get("global") is True else "user")
    reason = f"Discord's rate limit ({scope[:10]}): next try in {retry_after:g} s."
    return Outcome(Verdict.RATE_LIMITED, reason, status=429, discord_code=code, retry_after=retry_after, scope=scope)


def _pause(headers: Any) -> float:
    """Seconds until the used-up limit of this destination resets; 0 while requests are left."""
    if headers.get("X-RateLimit-Remaining") != "0":
        return 0.0
    return _seconds(headers.get("X-RateLimit-Reset-After")) or 0.0


def _seconds(value: Any) -> float | None:
    """A duration from a header or body, at most a day; None where it is none."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return min(seconds, 86_400.0) if math.isfinite(seconds) and seconds >= 0 else None


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


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
    return UNPRINTABLE.sub(" ", text)[:MAX_REASON]


def _network_reason(error: urllib3.exceptions.HTTPError) -> str:
    """Why there was no answer. The error's own text names the URL, which holds a secret."""
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "Discord could not be reached: the name not found."
        case urllib3.exceptions.NewConnectionError():
            return "Discord could not be reached: the connection was refused."
        case urllib3.exceptions.ConnectTimeoutError():
            return f"Discord could not be reached within {CONNECT_TIMEOUT:g} s."
        case urllib3.exceptions.ReadTimeoutError():
            return f"Discord did not answer within {READ_TIMEOUT:g} s."
    return f"The connection to Discord broke ({type(error).__name__})."
