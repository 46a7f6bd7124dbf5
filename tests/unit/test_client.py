"""One request to Discord over real HTTP, and what each answer is taken for."""

import contextlib
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from app.config import load_settings
from app.discord.address import Address, parse_address
from app.discord.client import DiscordClient
from app.discord.outcome import Answer, Outcome, classify
from tests.conftest import BOT_TOKEN
from tests.support import examples
from tools.fake_discord import Discord, Fault
from tools.story import WEBHOOK_TOKEN, WEBHOOK_URL

CHANNEL = parse_address("123456789")
WEBHOOK = parse_address(WEBHOOK_URL)
THREAD = parse_address(f"{WEBHOOK_URL}?thread_id=7")
MESSAGE = {"content": "hello", "allowed_mentions": {"parse": []}}
SECRETS = [BOT_TOKEN, WEBHOOK_TOKEN]
DAY = 86_400.0

MakeClient = Callable[..., DiscordClient]


def answer(status: int, body: Any = None, by_bot: bool = True, **headers: str) -> Answer:
    """What an answer of Discord is taken for; ``_`` in header names stands for ``-``."""
    given = urllib3.HTTPHeaderDict({name.replace("_", "-"): value for name, value in headers.items()})
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return classify(status, given, data, by_bot=by_bot, secret=None if by_bot else WEBHOOK_TOKEN)


@pytest.mark.parametrize("by_bot", [True, False])
@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (500, 0, Outcome.RETRY),
        (502, 0, Outcome.RETRY),
        (503, 0, Outcome.RETRY),
        (504, 0, Outcome.RETRY),
        (520, 0, Outcome.RETRY),
        (408, 0, Outcome.RETRY),
        (403, 20028, Outcome.RETRY),
        (400, 20028, Outcome.RETRY),
        (400, 20029, Outcome.RETRY),
        (400, 40062, Outcome.RETRY),
        (403, 130000, Outcome.RETRY),
        (503, 130000, Outcome.RETRY),
        (500, 10003, Outcome.RETRY),
        (404, 0, Outcome.SUSPEND),
        (404, 10003, Outcome.SUSPEND),
        (404, 10015, Outcome.SUSPEND),
        (403, 50001, Outcome.SUSPEND),
        (403, 50013, Outcome.SUSPEND),
        (401, 50027, Outcome.SUSPEND),
        (400, 40058, Outcome.SUSPEND),
        (400, 160005, Outcome.SUSPEND),
        (403, 160005, Outcome.SUSPEND),
        (400, 220001, Outcome.SUSPEND),
        (400, 50006, Outcome.DISCARD),
        (400, 50035, Outcome.DISCARD),
        (413, 40005, Outcome.DISCARD),
        (400, 200000, Outcome.DISCARD),
        (400, 240000, Outcome.DISCARD),
        (403, 40005, Outcome.DISCARD),
        (403, 50006, Outcome.DISCARD),
        (403, 50035, Outcome.DISCARD),
        (403, 200000, Outcome.DISCARD),
        (403, 240000, Outcome.DISCARD),
        (400, 0, Outcome.DISCARD),
        (413, 0, Outcome.DISCARD),
        (200, 0, Outcome.DELIVERED),
        (204, 0, Outcome.DELIVERED),
    ],
)
def test_an_answer_means_the_same_for_a_channel_and_a_webhook(
    status: int, code: int, outcome: Outcome, by_bot: bool
) -> None:
    meant = answer(status, {"code": code, "message": "words of Discord"}, by_bot=by_bot)
    assert meant.outcome is outcome
    assert meant.status == status


@pytest.mark.parametrize(("status", "code"), [(401, 0), (401, 40001), (403, 40001), (401, 50014), (403, 50014)])
def test_a_refused_bot_token_stops_the_bot_and_no_webhook(status: int, code: int) -> None:
    outcome = answer(status, {"code": code, "message": "401: Unauthorized"})
    assert outcome.outcome is Outcome.STOP_BOT
    assert "DISCORD_BOT_TOKEN" in (outcome.reason or "")
    assert answer(status, {"code": code}, by_bot=False).outcome is Outcome.SUSPEND


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_no_delivery(status: int) -> None:
    assert answer(status, b"", Location="https://evil.example").outcome is Outcome.RETRY


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (404, 10003, "Check the channel ID"),
        (404, 10015, "Create a new one"),
        (403, 50001, "View Channel"),
        (403, 50013, "Send Messages or Embed Links"),
        (401, 50027, "Copy the URL again"),
        (400, 220001, "?thread_id="),
    ],
)
def test_a_reason_to_suspend_says_what_to_do(status: int, code: int, remedy: str) -> None:
    outcome = answer(status, {"code": code, "message": "Unknown"})
    assert remedy in (outcome.reason or "")
    assert f"(Discord: {status}, code {code})" in (outcome.reason or "")
    assert outcome.discord_code == code


def test_a_reason_without_a_remedy_repeats_what_discord_said() -> None:
    outcome = answer(400, {"code": 50035, "message": "Invalid Form Body:\n embeds[0]\ttoo long"})
    assert outcome.reason == "Discord answered 400, code 50035: Invalid Form Body: embeds[0] too long"
    assert answer(502, b"<html>Bad Gateway</html>").reason == "Discord answered 502"


def test_a_long_reason_is_cut() -> None:
    assert len(answer(400, {"message": "x" * 5000}).reason or "") == 300


def test_a_delivery_names_the_message() -> None:
    assert answer(200, {"id": "1000000000000000001"}) == Answer(
        Outcome.DELIVERED, status=200, message_id="1000000000000000001"
    )


@pytest.mark.parametrize("message_id", [None, 7, "", "x" * 21, "9" * 21, "1\x00", ["1"], {"id": "1"}])
def test_a_delivery_without_a_proper_message_id_is_one_all_the_same(message_id: Any) -> None:
    outcome = answer(200, {"id": message_id})
    assert (outcome.outcome, outcome.message_id or None) == (Outcome.DELIVERED, None)


@pytest.mark.parametrize(
    ("body", "headers", "seconds", "scope"),
    [
        ({"retry_after": 1.337, "global": False}, {"Retry_After": "2", "X_RateLimit_Scope": "user"}, 1.337, "user"),
        ({"retry_after": 0.25}, {"Retry_After": "1"}, 0.25, "user"),
        ({"retry_after": 65}, {}, 65.0, "user"),
        ({"retry_after": 64.57, "global": True}, {"Retry_After": "65", "X_RateLimit_Global": "true"}, 64.57, "global"),
        ({"retry_after": 3.0}, {"Retry_After": "3", "X_RateLimit_Scope": "shared"}, 3.0, "shared"),
        (b"", {"Retry_After": "3"}, 3.0, "user"),
        (b"<html>error code: 1015</html>", {"Retry_After": "30"}, 30.0, "user"),
        ({"message": "slow down"}, {"Retry_After": "1.5", "X_RateLimit_Scope": "global"}, 1.5, "global"),
        ({"retry_after": "nan"}, {"Retry_After": "4"}, 4.0, "user"),
        ({"retry_after": -1}, {"Retry_After": "4"}, 4.0, "user"),
        ({"retry_after": [1]}, {"Retry_After": "4"}, 4.0, "user"),
        ({"retry_after": 1e300}, {}, DAY, "user"),
        ({}, {"Retry_After": "99999999999999999999"}, DAY, "user"),
        ({"retry_after": 0.0}, {}, 0.0, "user"),
        ({"retry_after": 0.0}, {"Retry_After": "0"}, 0.0, "user"),
        ({"retry_after": 5, "code": 20028, "message": "write rate limit"}, {}, 5.0, "user"),
        ({"retry_after": 5, "code": 50013}, {}, 5.0, "user"),
    ],
)
def test_a_rate_limit_is_waited_out(body: Any, headers: dict[str, Any], seconds: float, scope: str) -> None:
    outcome = answer(429, body, **headers)
    assert (outcome.outcome, outcome.retry_after, outcome.scope) == (Outcome.RATE_LIMITED, seconds, scope)
    assert outcome.status == 429
    assert scope in (outcome.reason or "")


@pytest.mark.parametrize("by_bot", [True, False])
@pytest.mark.parametrize("retry_after", [None, "", "nan", "inf", "-inf", "-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_rate_limit_without_a_usable_wait_is_a_ban(retry_after: str | None, by_bot: bool) -> None:
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    outcome = answer(429, b"error code: 1015", by_bot=by_bot, **headers)
    assert outcome.outcome is Outcome.STOP_BOT
    assert "blocks this host" in (outcome.reason or "")


@pytest.mark.parametrize(
    ("status", "scope", "counts"),
    [
        (401, None, True),
        (403, None, True),
        (429, "user", True),
        (429, "global", True),
        (429, "shared", False),
        (200, None, False),
        (400, None, False),
        (404, None, False),
        (500, None, False),
    ],
)
def test_discord_counts_what_it_refused_towards_a_ban(status: int, scope: str | None, counts: bool) -> None:
    headers: dict[str, Any] = {"Retry_After": "1"} | ({"X_RateLimit_Scope": scope} if scope else {})
    assert answer(status, {}, **headers).is_invalid_request is counts


def test_no_answer_counts_towards_no_ban() -> None:
    assert not Answer(Outcome.RETRY, "The connection to Discord broke.").is_invalid_request


@pytest.mark.parametrize(
    ("remaining", "reset_after", "pause"),
    [
        ("0", "1.337", 1.337),
        ("0", "0", 0.0),
        ("1", "1.337", 0.0),
        (None, "1.337", 0.0),
        ("0", None, 0.0),
        ("0", "nan", 0.0),
        ("0", "inf", 0.0),
        ("0", "-5", 0.0),
        ("0", "", 0.0),
        ("0", "soon", 0.0),
        ("-1", "2", 0.0),
        ("none", "2", 0.0),
        ("0", "1e9", DAY),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_a_used_up_limit_is_known_before_it_is_exceeded(
    remaining: str | None, reset_after: str | None, pause: float, status: int
) -> None:
    headers = {"X_RateLimit_Remaining": remaining, "X_RateLimit_Reset_After": reset_after}
    given: dict[str, Any] = {name: value for name, value in headers.items() if value is not None}
    assert answer(status, {}, **given).pause == pause


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{",
        b"<!doctype html>",
        b"\x1f\x8b\x08",
        b"[" * 5000,
        b'{"code": "10003"}',
        b'{"code": null}',
        b'{"code": true}',
        b'{"code": 1.5}',
        b'{"code": [10003]}',
        b'{"code": {"code": 10003}}',
        b'{"code": 1e400}',
        b'{"code": 99999999999}',
        b'{"message": ["a"]}',
        b'{"message": null}',
        b'{"message": ""}',
        b'{"message": "\\ud800"}',
    ],
)
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (400, Outcome.DISCARD),
        (404, Outcome.SUSPEND),
        (429, Outcome.STOP_BOT),
        (502, Outcome.RETRY),
    ],
)
def test_where_the_body_says_nothing_the_status_counts(status: int, outcome: Outcome, body: bytes) -> None:
    meant = answer(status, body)
    assert (meant.outcome, meant.discord_code, meant.message_id) == (outcome, None, None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
messages_with_secrets = st.lists(
    st.one_of(st.text(max_size=150), st.sampled_from([WEBHOOK_TOKEN, f"/{WEBHOOK_TOKEN}?wait=true", "\n"])), max_size=6
).map("".join)
bodies = st.one_of(
    st.binary(max_size=50),
    st.fixed_dictionaries(
        {},
        optional={
            "code": json_values | st.sampled_from([0, 10003, 50013, 50035, 40001, 20028]),
            "message": json_values | messages_with_secrets,
            "retry_after": json_values,
            "global": json_values,
            "id": json_values,
        },
    ).map(orjson.dumps),
)
header_values = (
    st.sampled_from(["", "0", "1", "-1", "0.5", "nan", "inf", "-inf", "1e309", "global", "x" * 500]) | st.text()
)
answer_headers = st.dictionaries(
    st.sampled_from(["Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Reset-After", "X-RateLimit-Scope"]),
    header_values,
).map(urllib3.HTTPHeaderDict)


@examples(200)
@given(st.integers(100, 599), answer_headers, bodies, st.booleans())
def test_no_answer_whatever_it_is_breaks_the_classification(
    status: int, headers: urllib3.HTTPHeaderDict, data: bytes, by_bot: bool
) -> None:
    outcome = classify(status, headers, data, by_bot=by_bot, secret=WEBHOOK_TOKEN)
    for seconds in (outcome.retry_after, outcome.pause):
        assert math.isfinite(seconds)
        assert 0 <= seconds <= DAY
    assert (outcome.outcome is Outcome.DELIVERED) == (200 <= status < 300)
    assert outcome.outcome is Outcome.DELIVERED or outcome.reason
    reason = outcome.reason or ""
    assert len(reason) <= 300
    assert WEBHOOK_TOKEN not in reason
    assert not re.search(r"[\r\n]", reason)


@pytest.mark.parametrize("before", ["", "x" * 240, "x" * 299])
def test_a_secret_that_discord_repeats_is_not_in_the_reason(before: str) -> None:
    message = f"{before} /webhooks/1/{WEBHOOK_TOKEN} {WEBHOOK_TOKEN}{WEBHOOK_TOKEN}"
    outcome = answer(400, {"code": 50035, "message": message}, by_bot=False)
    assert WEBHOOK_TOKEN not in (outcome.reason or "")
    assert WEBHOOK_TOKEN[:8] not in (outcome.reason or "")


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x08"])
def test_the_reason_is_a_line_that_a_database_takes_and_a_terminal_shows(character: str) -> None:
    outcome = answer(400, {"code": 50035, "message": f"Invalid{character} body"})
    assert character not in (outcome.reason or "")


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    made: list[DiscordClient] = []

    def make(api_url: str, bot_token: str | None = BOT_TOKEN, connections: int = 1) -> DiscordClient:
        made.append(DiscordClient(api_url, bot_token, "https://traffic.example.com", "1.2.3", connections))
        return made[-1]

    yield make
    for client in made:
        client.pool.clear()


@pytest.fixture
def client(make_client: MakeClient, discord: Discord) -> DiscordClient:
    return make_client(discord.url)


class RawServer:
    """Answers each connection's first request with the same bytes, then closes it."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]]) -> None:
        self.chunks = chunks
        self.requests: list[str] = []
        self.sent = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/api/v10"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                self.requests.append(self._read_request(connection))
                for chunk in self.chunks():
                    connection.sendall(chunk)
                    self.sent += len(chunk)

    @staticmethod
    def _read_request(connection: socket.socket) -> str:
        """All of it: closing a connection with unread data could cut off the answer."""
        with connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None
            return head + stream.read(int(length[1])).decode()

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


ServeRaw = Callable[..., RawServer]


@pytest.fixture
def serve_raw() -> Iterator[ServeRaw]:
    servers: list[RawServer] = []

    def serve(*chunks: bytes, chunks_from: Callable[[], Iterator[bytes]] | None = None) -> RawServer:
        servers.append(RawServer(chunks_from or (lambda: iter(chunks))))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


def reason_to_retry(outcome: Answer) -> str:
    """Why there was no answer; checks that it tells no secret and no URL."""
    assert (outcome.outcome, outcome.status) == (Outcome.RETRY, None)
    assert outcome.reason
    for secret in [*SECRETS, "http", "127.0.0.1", "/webhooks/", "/channels/", "Pool("]:
        assert secret not in repr(outcome)
    return outcome.reason


def test_a_channel_message_is_posted_by_the_bot(client: DiscordClient, discord: Discord) -> None:
    outcome = client.send(CHANNEL, MESSAGE, "nonce-1")
    (posted,) = discord.messages
    assert outcome == Answer(Outcome.DELIVERED, status=200, message_id=posted.id)
    assert (posted.destination, posted.query) == ("channels/123456789", {})
    assert posted.body == {**MESSAGE, "nonce": "nonce-1", "enforce_nonce": True}
    assert posted.headers["Authorization"] == f"Bot {BOT_TOKEN}"
    assert posted.headers["User-Agent"] == "DiscordBot (https://traffic.example.com, 1.2.3)"
    assert posted.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("address", "query"), [(WEBHOOK, {"wait": "true"}), (THREAD, {"wait": "true", "thread_id": "7"})]
)
@pytest.mark.parametrize("bot_token", [BOT_TOKEN, None])
def test_a_webhook_message_needs_no_bot(
    make_client: MakeClient, discord: Discord, address: Address, query: dict[str, str], bot_token: str | None
) -> None:
    outcome = make_client(discord.url, bot_token).send(address, MESSAGE, "nonce-1")
    (posted,) = discord.messages
    assert (outcome.outcome, outcome.message_id) == (Outcome.DELIVERED, posted.id)
    assert (posted.destination, posted.query, posted.body) == ("webhooks/987654321", query, MESSAGE)
    assert "Authorization" not in posted.headers
    assert posted.headers["User-Agent"] == "DiscordBot (https://traffic.example.com, 1.2.3)"


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("00123", "/channels/123/messages"),
        ("https://ptb.discord.com/api/webhooks/007/to_k-en", "/webhooks/7/to_k-en?wait=true"),
        ("https://discord.com/api/v6/webhooks/7/tok?thread_id=9", "/webhooks/7/tok?wait=true&thread_id=9"),
        ("https://discord.com/api/v6/webhooks/7/tok?thread_id=0", "/webhooks/7/tok?wait=true&thread_id=0"),
    ],
)
def test_the_url_is_built_from_the_parts_of_the_address(
    make_client: MakeClient, serve_raw: ServeRaw, value: str, target: str
) -> None:
    server = serve_raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert make_client(server.url).send(parse_address(value), MESSAGE, "n").outcome is Outcome.DELIVERED
    assert server.requests[0].splitlines()[0] == f"POST /api/v10{target} HTTP/1.1"


def test_sending_leaves_the_message_as_it_was(client: DiscordClient, discord: Discord) -> None:
    message = {"content": "hello"}
    client.send(CHANNEL, message, "nonce-1")
    assert message == {"content": "hello"}


@pytest.mark.parametrize(
    ("public_url", "named"),
    [(None, "http://127.0.0.1:8000"), ("https://traffic.example.com", "https://traffic.example.com")],
)
def test_a_client_made_from_the_settings_names_the_service(
    discord: Discord, public_url: str | None, named: str
) -> None:
    config = {"DISCORD_API_URL": discord.url, "DISCORD_BOT_TOKEN": BOT_TOKEN, "PUBLIC_URL": public_url}
    client = DiscordClient.from_config(load_settings({}) | config | {"API_VERSION": "1.2.3"})
    assert client.send(CHANNEL, MESSAGE, "n").outcome is Outcome.DELIVERED
    client.pool.clear()
    assert discord.requests[0].headers["User-Agent"] == f"DiscordBot ({named}, 1.2.3)"


def test_a_repeat_with_the_same_nonce_is_the_same_message(client: DiscordClient, discord: Discord) -> None:
    first, second, other = (client.send(CHANNEL, MESSAGE, nonce) for nonce in ("one", "one", "two"))
    assert first.message_id == second.message_id != other.message_id
    assert len(discord.messages) == 2


def test_without_a_bot_token_nothing_is_asked_of_discord(make_client: MakeClient, discord: Discord) -> None:
    outcome = make_client(discord.url, bot_token=None).send(CHANNEL, MESSAGE, "n")
    assert outcome.outcome is Outcome.STOP_BOT
    assert "DISCORD_BOT_TOKEN" in (outcome.reason or "")
    assert discord.requests == []


def test_a_wrong_bot_token_stops_the_bot(make_client: MakeClient, discord: Discord) -> None:
    outcome = make_client(discord.url, "another-canary-token").send(CHANNEL, MESSAGE, "n")
    assert (outcome.outcome, outcome.status) == (Outcome.STOP_BOT, 401)
    assert "another-canary-token" not in repr(outcome)


@pytest.mark.parametrize(("address", "secret"), [(CHANNEL, BOT_TOKEN), (THREAD, WEBHOOK_TOKEN)])
def test_a_secret_that_the_answer_repeats_is_kept_out(
    client: DiscordClient, discord: Discord, address: Address, secret: str
) -> None:
    discord.fail(Fault(status=400, body={"code": 50035, "message": f"Bad request with {secret}"}))
    outcome = client.send(address, MESSAGE, "n")
    assert outcome.outcome is Outcome.DISCARD
    assert "Bad request" in (outcome.reason or "")
    assert secret not in repr(outcome)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(client: DiscordClient, discord: Discord, status: int) -> None:
    discord.fail(Fault(status=status, headers={"Location": f"{discord.url}/channels/666/messages"}))
    outcome = client.send(CHANNEL, MESSAGE, "n")
    assert (outcome.outcome, outcome.status) == (Outcome.RETRY, status)
    assert [request.destination for request in discord.requests] == ["channels/123456789"]


def test_a_used_up_limit_is_read_from_the_headers(client: DiscordClient, discord: Discord) -> None:
    discord.limit = (2, 5.0)
    first, second, third = (client.send(WEBHOOK, MESSAGE, "n") for _ in range(3))
    assert (first.outcome, first.pause) == (Outcome.DELIVERED, 0.0)
    assert second.outcome is Outcome.DELIVERED
    assert 4 < second.pause <= 5
    assert third.outcome is Outcome.RATE_LIMITED
    assert 4 < third.retry_after <= 5


@pytest.mark.parametrize("address", [CHANNEL, THREAD])
def test_a_refused_connection_is_tried_again(make_client: MakeClient, address: Address) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        outcome = make_client(f"http://127.0.0.1:{nobody.getsockname()[1]}/api/v10").send(address, MESSAGE, "n")
    assert "refused" in reason_to_retry(outcome)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError("timed out"), "could not be reached within 2.5 s"),
        (socket.gaierror(-2, "Name or service not known"), "its host name was not found"),
        (ConnectionRefusedError(111, "Connection refused"), "refused"),
        (OSError(101, "Network is unreachable"), "could not be reached"),
    ],
)
def test_why_discord_cannot_be_reached_is_said(
    client: DiscordClient, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr("urllib3.util.connection.create_connection", fail)
    outcome = client.send(THREAD, MESSAGE, "n")
    assert words in reason_to_retry(outcome)


@pytest.mark.parametrize("address", [CHANNEL, THREAD])
def test_a_dropped_connection_is_tried_again(client: DiscordClient, discord: Discord, address: Address) -> None:
    discord.fail(Fault(drop=True))
    outcome = client.send(address, MESSAGE, "n")
    assert "broke" in reason_to_retry(outcome)
    assert client.send(address, MESSAGE, "n").outcome is Outcome.DELIVERED


@pytest.mark.parametrize("address", [CHANNEL, THREAD])
def test_an_answer_that_does_not_come_is_tried_again(client: DiscordClient, discord: Discord, address: Address) -> None:
    client.pool.connection_pool_kw["timeout"] = urllib3.Timeout(connect=1, read=0.05)
    discord.fail(Fault(hang=1, accept=True))
    began = time.monotonic()
    outcome = client.send(address, MESSAGE, "n")
    assert time.monotonic() - began < 1
    assert "did not answer" in reason_to_retry(outcome)
    assert len(discord.messages) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 70_000,
    ],
    ids=range(9),
)
@pytest.mark.parametrize("address", [CHANNEL, THREAD])
def test_an_answer_that_is_not_http_is_tried_again(
    make_client: MakeClient, serve_raw: ServeRaw, address: Address, data: bytes
) -> None:
    assert "broke" in reason_to_retry(make_client(serve_raw(data).url).send(address, MESSAGE, "n"))


@pytest.mark.parametrize(
    "data",
    [b"Content-Length: 100\r\n\r\n{", b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"],
    ids=["cut", "gzip"],
)
def test_a_success_is_a_delivery_though_its_body_is_broken(
    make_client: MakeClient, serve_raw: ServeRaw, data: bytes
) -> None:
    outcome = make_client(serve_raw(b"HTTP/1.1 200 OK\r\n" + data).url).send(WEBHOOK, MESSAGE, "n")
    assert (outcome.outcome, outcome.status) == (Outcome.DELIVERED, 200)


def test_a_long_answer_is_not_read_to_its_end(make_client: MakeClient, serve_raw: ServeRaw) -> None:
    length = 64 * 2**20
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % length

    def chunks() -> Iterator[bytes]:
        yield head
        for _ in range(length // 65_536):
            yield b" " * 65_536

    server = serve_raw(chunks_from=chunks)
    assert make_client(server.url).send(CHANNEL, MESSAGE, "n").outcome is Outcome.DISCARD
    assert server.sent < length / 2


def test_a_connection_is_used_again(client: DiscordClient, discord: Discord) -> None:
    discord.fail(
        Fault(),
        Fault(status=400, body={"code": 50035, "message": "x" * 100_000}),
        Fault(status=429, body={"retry_after": 1}),
        Fault(status=302, headers={"Location": "https://evil.example"}),
        Fault(status=502),
    )
    for _ in range(6):
        client.send(CHANNEL, MESSAGE, "n")
        client.send(THREAD, MESSAGE, "n")
    pool = client.pool.connection_from_url(discord.url)
    assert (pool.num_connections, pool.num_requests) == (1, 12)


def test_threads_share_as_many_connections_as_they_may(make_client: MakeClient, discord: Discord) -> None:
    client = make_client(discord.url, connections=3)
    discord.latency = 0.01
    with ThreadPoolExecutor(12) as threads:
        outcomes = list(threads.map(lambda number: client.send(CHANNEL, MESSAGE, str(number)), range(30)))
    assert {outcome.outcome for outcome in outcomes} == {Outcome.DELIVERED}
    assert len({outcome.message_id for outcome in outcomes}) == 30
    assert client.pool.connection_from_url(discord.url).num_connections <= 3
