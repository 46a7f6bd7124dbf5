"""The ASGI middleware leaves an application as it is, whatever the application does."""

import asyncio
import json

import pytest

from arkyn_reporter import Reporter


@pytest.fixture
def reporter(collector):
    return Reporter(collector.dsn, ignore=["/health*"])


SCOPE = {
    "type": "http",
    "method": "GET",
    "scheme": "https",
    "path": "/orders",
    "query_string": b"page=2&token=secret",
    "headers": [(b"host", b"api.example.com"), (b"authorization", b"secret"), (b"x-a", b"1"), (b"x-a", b"2")],
    "server": ("127.0.0.1", 8000),
}
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
LAST = {"type": "http.response.body", "body": b"b"}


def run(app, scope=(), receive=(), send=None):
    """Call the application as a server does; returns what it sent."""
    sent = []
    messages = list(receive)

    async def next_message():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def keep(message):
        if send is not None:
            await send(message)
        sent.append(message)

    asyncio.run(app({**SCOPE, **dict(scope)}, next_message, keep))
    return sent


def only(reporter, collector):
    assert reporter.flush(5)
    (record,) = collector.values()
    assert reporter.counts().reported == 1
    return record


def sends(*messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


def test_a_request_is_reported_whole(reporter, collector):
    part = {"type": "http.response.body", "body": b"a", "more_body": True}
    sent = run(reporter.asgi(sends(START, part, LAST)))
    assert sent[0] is START
    assert sent[1] is part
    assert sent[2] is LAST
    record = only(reporter, collector)
    assert (record["status"], record["method"], record["pathnameUrl"]) == (200, "GET", "/orders")
    assert (record["domainUrl"], record["protocol"]) == ("https://api.example.com", "https")
    assert record["queryParams"] == {"page": "2", "token": "[redacted]"}
    assert record["requestHeaders"]["x-a"] == ["1", "2"]
    assert record["responseHeaders"] == {"content-type": "text/plain"}
    assert "secret" not in json.dumps(record)


def test_background_work_is_no_part_of_the_request(reporter, collector):
    async def app(scope, receive, send):
        await send(START)
        await send(LAST)
        assert reporter.counts().reported == 1
        raise ValueError

    with pytest.raises(ValueError):
        run(reporter.asgi(app))
    assert only(reporter, collector)["status"] == 200


@pytest.mark.parametrize(
    "last",
    [
        {"type": "http.response.body"},
        {"type": "http.response.body", "body": b"", "more_body": False},
        {"type": "http.response.pathsend", "path": "/a"},
        {"type": "http.response.zerocopysend", "file": 1},
    ],
)
def test_every_way_to_end_a_response_is_known(reporter, collector, last):
    run(reporter.asgi(sends(START, last)))
    only(reporter, collector)


def test_what_the_application_raises_is_a_500_and_goes_on(reporter, collector):
    error = ValueError("no")

    async def app(scope, receive, send):
        await send(START)
        raise error

    with pytest.raises(ValueError) as raised:
        run(reporter.asgi(app))
    assert raised.value is error
    assert only(reporter, collector)["status"] == 500


def test_an_application_that_says_nothing_is_a_500(reporter, collector):
    run(reporter.asgi(sends()))
    assert only(reporter, collector)["status"] == 500


def test_an_application_that_stops_in_the_middle_keeps_its_status(reporter, collector):
    run(reporter.asgi(sends(START)))
    assert only(reporter, collector)["status"] == 200


class ClientDisconnect(Exception):
    pass


@pytest.mark.parametrize("error", [ClientDisconnect, OSError, asyncio.CancelledError, None])
def test_a_client_that_leaves_before_there_is_an_answer_is_a_499(reporter, collector, error):
    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.disconnect"
        if error:
            raise error

    if error:
        with pytest.raises(error):
            run(reporter.asgi(app))
    else:
        run(reporter.asgi(app))
    assert only(reporter, collector)["status"] == 499


def test_a_client_that_leaves_later_leaves_the_applications_status(reporter, collector):
    async def gone(message):
        if message is LAST:
            raise OSError

    with pytest.raises(OSError):
        run(reporter.asgi(sends(START, LAST)), send=gone)
    assert only(reporter, collector)["status"] == 200


def test_an_error_of_the_application_after_the_client_left_is_a_500(reporter, collector):
    async def app(scope, receive, send):
        await receive()
        raise ValueError

    with pytest.raises(ValueError):
        run(reporter.asgi(app))
    assert only(reporter, collector)["status"] == 500


@pytest.mark.parametrize("kind", ["websocket", "unknown"])
def test_other_scopes_pass_untouched(reporter, kind):
    seen = []

    async def app(scope, receive, send):
        seen.extend([scope, receive, send])

    async def scenario():
        parts = ({"type": kind, "path": "/"}, lambda: None, lambda message: None)
        await reporter.asgi(app)(*parts)
        assert all(one is other for one, other in zip(seen, parts))

    asyncio.run(scenario())
    assert reporter.counts().reported == 0


def test_ignored_paths_are_not_reported(reporter):
    run(reporter.asgi(sends(START, LAST)), scope={"path": "/healthz"})
    assert reporter.counts().reported == 0


@pytest.mark.parametrize(
    "scope",
    [
        {"headers": [(b"host", b"\xff\x00 x"), (b"x", b"y" * 1_000_000)]},
        {"headers": []},
        {"headers": [], "server": None},
        {"headers": [], "server": ("::1", 80)},
        {"headers": [("host", "text")]},
        {"headers": None},
        {"query_string": b"\xff%zz&="},
        {"query_string": None},
        {"method": "\x00"},
        {"scheme": "wss"},
        {"path": "/\udcff\x00"},
    ],
)
def test_odd_requests_are_reported_too(reporter, collector, scope):
    run(reporter.asgi(sends({**START, "status": 503}, LAST)), scope=scope)
    assert only(reporter, collector)["status"] == 503


@pytest.mark.parametrize("headers", [None, [("a", "b")], [(b"a",)], 5])
def test_odd_response_headers_are_passed_on(reporter, collector, headers):
    start = {**START, "headers": headers}
    assert run(reporter.asgi(sends(start, LAST)))[0] is start
    assert only(reporter, collector)["status"] == 200


@pytest.mark.parametrize(
    "message", [{"type": "http.response.start"}, {"type": "http.response.start", "status": "x"}, {}]
)
def test_an_odd_message_is_the_servers_business(reporter, collector, message):
    assert run(reporter.asgi(sends(message)))[0] is message
    assert only(reporter, collector)["status"] == 500


def test_an_odd_scope_is_the_applications_business(reporter):
    async def app(scope, receive, send):
        assert scope == {"type": "http"}

    asyncio.run(reporter.asgi(app)({"type": "http"}, None, None))
    assert reporter.counts().reported == 0


def test_bodies_are_reported_if_that_is_wanted(collector):
    reporter = Reporter(collector.dsn, bodies=True)

    async def app(scope, receive, send):
        body = (await receive())["body"] + (await receive())["body"]
        await send({**START, "headers": [(b"content-type", b"application/json")]})
        await send({**LAST, "body": body[:9], "more_body": True})
        await send({**LAST, "body": body[9:]})

    sent = json.dumps({"password": "secret", "name": "Ana"}).encode()
    parts = [{"type": "http.request", "body": sent[:5], "more_body": True}, {"type": "http.request", "body": sent[5:]}]
    headers = [*SCOPE["headers"], (b"content-type", b"application/json")]
    run(reporter.asgi(app), scope={"headers": headers}, receive=parts)
    record = only(reporter, collector)
    assert record["requestBody"] == record["responseBody"] == {"password": "[redacted]", "name": "Ana"}


STARTUP = {"type": "lifespan.startup"}
SHUTDOWN = {"type": "lifespan.shutdown"}


def test_a_shutdown_flushes_before_the_server_hears_of_it(reporter, collector):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        reporter.report(status=200, method="GET", url="http://a/", elapsed_ms=1)
        await send({"type": "lifespan.shutdown.complete"})
        assert len(collector.records) == 1

    sent = run(reporter.asgi(app), scope={"type": "lifespan"}, receive=[STARTUP, SHUTDOWN])
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("raises", [True, False])
def test_an_application_without_a_lifespan_is_flushed_too(reporter, collector, raises):
    async def app(scope, receive, send):
        if raises:
            raise ValueError("only http")

    reporter.report(status=200, method="GET", url="http://a/", elapsed_ms=1)
    sent = run(reporter.asgi(app), scope={"type": "lifespan"}, receive=[STARTUP, SHUTDOWN])
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert len(collector.records) == 1


def test_a_startup_that_fails_fails(reporter):
    async def app(scope, receive, send):
        await receive()
        raise ValueError

    with pytest.raises(ValueError):
        run(reporter.asgi(app), scope={"type": "lifespan"}, receive=[STARTUP])
