"""The WSGI middleware leaves an application as it is, whatever the application does."""

import io
import json
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from arkyn_reporter import Reporter


@pytest.fixture
def reporter(collector):
    return Reporter(collector.dsn, ignore=["/health*", "/exact"])


def environ_of(path="/orders", **more):
    environ = {"PATH_INFO": path, "QUERY_STRING": "page=2&token=secret", "HTTP_HOST": "api.example.com", **more}
    setup_testing_defaults(environ)
    environ.setdefault("SCRIPT_NAME", "")
    return environ


def run(app, **environ):
    """Call the application as a server does; returns what was sent, or raises."""
    started = []

    def start_response(status, headers, exc_info=None):
        started.append((status, headers))
        return started.append

    body = app(environ_of(**environ), start_response)
    try:
        return started, b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()


def only(reporter, collector):
    assert reporter.flush(5)
    (record,) = collector.values()
    assert reporter.counts().reported == 1
    return record


def answers(status="200 OK", body=(b"a", b"b")):
    def app(environ, start_response):
        start_response(status, [("Content-Type", "text/plain"), ("Set-Cookie", "id=secret"), ("X-A", "b")])
        return body

    return app


def test_a_request_is_reported_whole(reporter, collector):
    headers = {"HTTP_AUTHORIZATION": "Bearer secret", "HTTP_X_TRACE": "t", "CONTENT_TYPE": "text/plain"}
    run(reporter.wsgi(answers("404 Not Found")), REQUEST_METHOD="PUT", **headers)
    record = only(reporter, collector)
    assert (record["status"], record["method"], record["pathnameUrl"]) == (404, "PUT", "/orders")
    assert (record["domainUrl"], record["protocol"]) == ("http://api.example.com", "http")
    assert record["queryParams"] == {"page": "2", "token": "[redacted]"}
    assert record["requestHeaders"]["authorization"] == "[redacted]"
    assert record["requestHeaders"]["x-trace"] == "t"
    assert record["requestHeaders"]["content-type"] == "text/plain"
    assert record["responseHeaders"] == {"content-type": "text/plain", "set-cookie": "[redacted]", "x-a": "b"}
    assert 0 <= record["elapsedTime"] < 1000
    assert "secret" not in json.dumps(record)
    assert "requestBody" not in record


@pytest.mark.parametrize("body", [[b"a"], (b"a", b"b"), []])
def test_a_list_stays_that_list(reporter, collector, body):
    app = reporter.wsgi(answers(body=body))
    assert app(environ_of(), lambda *_: None) is body
    only(reporter, collector)


def test_a_file_stays_that_file_and_is_closed(reporter, collector):
    file = io.BytesIO(b"data")
    wrapped = FileWrapper(file)
    app = reporter.wsgi(answers(body=wrapped))
    body = app(environ_of(**{"wsgi.file_wrapper": FileWrapper}), lambda *_: None)
    assert body is wrapped
    assert reporter.counts().reported == 0
    assert b"".join(body) == b"data"
    body.close()
    assert file.closed
    only(reporter, collector)


def test_a_file_wrapper_that_takes_no_attributes_is_left_alone(reporter, collector):
    class Wrapper:
        __slots__ = ()

        def __iter__(self):
            return iter([b"data"])

    wrapped = Wrapper()
    app = reporter.wsgi(answers(body=wrapped))
    assert app(environ_of(**{"wsgi.file_wrapper": Wrapper}), lambda *_: None) is wrapped
    only(reporter, collector)


def test_a_stream_passes_part_by_part(reporter, collector):
    passed = []

    def parts():
        for number in range(3):
            passed.append(number)
            yield b"x"

    app = reporter.wsgi(answers(body=parts()))
    body = app(environ_of(), lambda *_: None)
    assert passed == []
    for number, _ in enumerate(body):
        assert passed == list(range(number + 1))
    body.close()
    only(reporter, collector)


def test_the_servers_way_of_closing_is_kept(reporter, collector):
    class Body:
        closed = 0

        def __iter__(self):
            return iter([b"a"])

        def close(self):
            self.closed += 1

    body = Body()
    run(reporter.wsgi(answers(body=body)))
    assert body.closed == 1
    only(reporter, collector)


def test_a_client_that_goes_away_leaves_the_applications_status(reporter, collector):
    closed = []

    def parts():
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    body = reporter.wsgi(answers(body=parts()))(environ_of(), lambda *_: None)
    next(iter(body))
    body.close()
    assert closed == [True]
    assert only(reporter, collector)["status"] == 200


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_the_application_raises_is_a_500_and_goes_on(reporter, collector, error):
    def app(environ, start_response):
        raise error

    with pytest.raises(type(error)) as raised:
        run(reporter.wsgi(app))
    assert raised.value is error
    assert only(reporter, collector)["status"] == 500


def test_a_stream_that_raises_is_a_500(reporter, collector):
    def parts():
        yield b"a"
        raise ValueError

    with pytest.raises(ValueError):
        run(reporter.wsgi(answers(body=parts())))
    assert only(reporter, collector)["status"] == 500


def test_a_body_that_cannot_be_iterated_is_a_500(reporter, collector):
    with pytest.raises(TypeError):
        run(reporter.wsgi(answers(body=None)))
    assert only(reporter, collector)["status"] == 500


def test_a_body_that_fails_to_close_is_a_500(reporter, collector):
    class Body:
        def __iter__(self):
            return self

        def __next__(self):
            return b"a"

        def close(self):
            raise ValueError

    body = reporter.wsgi(answers(body=Body()))(environ_of(), lambda *_: None)
    with pytest.raises(ValueError):
        body.close()
    assert only(reporter, collector)["status"] == 500


def test_a_generator_may_start_its_response_late_or_twice(reporter, collector):
    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("503 Busy", [], (ValueError, ValueError(), None))("written")
        yield b""

    started, _ = run(reporter.wsgi(app))
    assert started == [("200 OK", []), ("503 Busy", []), "written"]
    assert only(reporter, collector)["status"] == 503


def test_a_response_that_never_starts_is_a_500(reporter, collector):
    run(reporter.wsgi(lambda environ, start_response: iter([])))
    assert only(reporter, collector)["status"] == 500


@pytest.mark.parametrize("status", [b"200 OK", None, 200, "OK", ""])
def test_an_odd_status_line_passes_and_harms_nobody(reporter, collector, status):
    started, _ = run(reporter.wsgi(answers(status)))
    assert started[0][0] is status
    assert only(reporter, collector)["status"] in (200, 500)


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_HOST": "a b\r\nc"},
        {"HTTP_HOST": ""},
        {"SCRIPT_NAME": None, "path": None},
        {"HTTP_UPGRADE": 5},
        {"HTTP_X": object()},
        {"QUERY_STRING": "%zz&&=;\xff\x00"},
        {"QUERY_STRING": None},
        {"REQUEST_METHOD": "BREW/1\x00"},
        {"REQUEST_METHOD": None},
        {"HTTP_X": "y" * 1_000_000},
        {"wsgi.url_scheme": 5},
    ],
)
def test_odd_requests_are_reported_too(reporter, collector, environ):
    run(reporter.wsgi(answers("500 No")), **environ)
    assert only(reporter, collector)["status"] == 500


@pytest.mark.parametrize("headers", [[("X-A", 5)], [("X-A",)], None, [(b"a", b"b")], 7])
def test_odd_response_headers_are_passed_on(reporter, collector, headers):
    def app(environ, start_response):
        start_response("500 No", headers)
        return iter([b""])

    started, _ = run(reporter.wsgi(app))
    assert started[0][1] is headers
    assert only(reporter, collector)["status"] == 500


def test_a_path_is_what_the_client_asked_for(reporter, collector):
    run(reporter.wsgi(answers()), SCRIPT_NAME="/shop", path="/caf\xc3\xa9/\xff")
    assert only(reporter, collector)["pathnameUrl"] == "/shop/café/\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("path", ["/health", "/healthz/live", "/exact"])
def test_ignored_paths_are_not_reported(reporter, collector, path):
    run(reporter.wsgi(answers()), path=path)
    assert reporter.counts().reported == 0


def test_websockets_are_left_out(reporter):
    run(reporter.wsgi(answers()), HTTP_UPGRADE="WebSocket")
    assert reporter.counts().reported == 0


def test_the_middleware_obeys_the_rules_of_wsgi(reporter, collector):
    app = validator(reporter.wsgi(validator(answers(body=[b"a"]))))
    run(app, QUERY_STRING="")
    run(validator(reporter.wsgi(validator(answers(body=iter([b"a"]))))), QUERY_STRING="")
    assert reporter.flush(5)
    assert len(collector.records) == 2


def test_bodies_are_reported_if_that_is_wanted(collector):
    reporter = Reporter(collector.dsn, bodies=True, redact=["ssn"])

    def app(environ, start_response):
        sent = environ["wsgi.input"].read(5) + b"".join(environ["wsgi.input"])
        start_response("200 OK", [("Content-Type", "application/json")])
        yield sent[:10]
        yield sent[10:]

    sent = json.dumps({"ssn": "secret", "name": "Ana"}).encode()
    _, body = run(reporter.wsgi(app), **{"wsgi.input": io.BytesIO(sent), "CONTENT_TYPE": "application/json"})
    assert body == sent
    record = only(reporter, collector)
    assert record["requestBody"] == record["responseBody"] == {"ssn": "[redacted]", "name": "Ana"}


def test_long_and_unreadable_bodies_are_not_kept(collector):
    reporter = Reporter(collector.dsn, bodies=True)

    def app(environ, start_response):
        environ["wsgi.input"].readlines()
        environ["wsgi.input"].readline()
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"\x89PNG"]

    more = {"wsgi.input": io.BytesIO(b"secret" * 1_000_000), "CONTENT_TYPE": "text/plain"}
    run(reporter.wsgi(app), **more)
    record = only(reporter, collector)
    assert "secret" not in json.dumps(record)
    assert "responseBody" not in record


def test_a_proxys_word_on_the_scheme_is_believed_where_the_application_believes_it(reporter, collector):
    def fixed(environ, start_response):
        environ["wsgi.url_scheme"] = "https"
        environ["HTTP_HOST"] = "shop.example.com"
        return answers()(environ, start_response)

    run(reporter.wsgi(fixed))
    assert only(reporter, collector)["domainUrl"] == "https://shop.example.com"
