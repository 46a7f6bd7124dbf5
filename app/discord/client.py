"""The HTTP client that posts messages to Discord, with explicit timeouts and bounded answers."""

from collections.abc import Mapping
from time import monotonic
from typing import Any, Self

import orjson
import urllib3

from app.discord.address import Address
from app.discord.outcome import BOT_MISSING, UNREADABLE, Answer, Outcome, classify

# Worst case: 5 IP addresses x 2.5 s + 10 s + 5 s = 27.5 s, below the dispatcher's LEASE of 30 s.
CONNECT_SECONDS = 2.5
READ_SECONDS = 10.0
BODY_SECONDS = 5.0
MAX_BODY_BYTES = 262_144
CHUNK_BYTES = 65_536


class DiscordClient:
    """Posts messages over kept-alive connections. Thread-safe.

    Discord requires ``user_agent_url`` and ``version`` in the User-Agent.
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
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
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

    def send(self, address: Address, message: dict[str, Any], nonce: str) -> Answer:
        """Post ``message`` once and classify the answer. Network errors become an answer, too, and are not raised.

        ``nonce``, of at most 25 characters, lets Discord recognise a repeat; webhook URLs do not support it.
        """
        if address.token is None and self.bot_token is None:
            return Answer(Outcome.STOP_BOT, BOT_MISSING)
        if address.token is not None and not address.token:
            return Answer(Outcome.SUSPEND, UNREADABLE)
        url, headers, body = self._request(address, message, nonce)
        try:
            response = self.pool.request(
                "POST", url, headers=headers, body=orjson.dumps(body), redirect=False, preload_content=False
            )
            data = _read(response)
        except urllib3.exceptions.HTTPError as error:
            return Answer(Outcome.RETRY, _network_reason(error))
        by_bot = address.token is None
        secret = self.bot_token if by_bot else address.token
        return classify(response.status, response.headers, data, by_bot, secret)

    def _request(self, address: Address, message: dict[str, Any], nonce: str) -> tuple[str, dict[str, str], Any]:
        """URL, headers and body. The URL is built from the address's parts, never copied from the user's value."""
        if address.token is None:
            headers = self.headers | {"Authorization": f"Bot {self.bot_token}"}
            body = message | {"nonce": nonce, "enforce_nonce": True}
            return f"{self.api_url}/channels/{address.id}/messages", headers, body
        thread = f"&thread_id={address.thread_id}" if address.thread_id is not None else ""
        return f"{self.api_url}/webhooks/{address.id}/{address.token}?wait=true{thread}", self.headers, message


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """The body, up to about MAX_BODY_BYTES. Raises HTTPError if it breaks off, except after a success.

    A success needs no body: its status says that the message was delivered.
    """
    try:
        data = _read_until(response, monotonic() + BODY_SECONDS)
    except urllib3.exceptions.HTTPError:
        response.close()
        if not 200 <= response.status < 300:
            raise
        data = b""
    finally:
        response.release_conn()
    return data


def _read_until(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    data = b""
    while chunk := response.read1(CHUNK_BYTES):
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            response.close()
            break
        if monotonic() > deadline:
            raise urllib3.exceptions.ProtocolError("The response does not end.")
    return data


def _network_reason(error: urllib3.exceptions.HTTPError) -> str:
    """Why there was no answer, without the error's own text, which contains the secret URL."""
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "Discord could not be reached: its host name was not found."
        case urllib3.exceptions.NewConnectionError():
            return "Discord could not be reached: the connection was refused."
        case urllib3.exceptions.ConnectTimeoutError():
            return f"Discord could not be reached within {CONNECT_SECONDS:g} s."
        case urllib3.exceptions.ReadTimeoutError():
            return f"Discord did not answer within {READ_SECONDS:g} s."
    return f"The connection to Discord broke ({type(error).__name__})."
