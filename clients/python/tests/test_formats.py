import json

import pytest

from arkyn_reporter.tail.formats import NoAccessLine, parse_line

NGINX = {
    "time": "1753108200.123",
    "status": "502",
    "method": "GET",
    "scheme": "https",
    "host": "api.example.com",
    "uri": "/orders/5?token=abc&page=2",
    "request_time": "0.250",
    "referer": "",
    "user_agent": "curl/8",
    "request_id": "f00",
}
CADDY = {
    "level": "info",
    "ts": 1646861401.5241024,
    "logger": "http.log.access.log0",
    "msg": "handled request",
    "request": {
        "remote_ip": "127.0.0.1",
        "proto": "HTTP/2.0",
        "method": "POST",
        "host": "example.com:8443",
        "uri": "/a/b?c=d",
        "headers": {"User-Agent": ["curl/7.82.0"], "Cookie": ["REDACTED"]},
        "tls": {"resumed": False, "version": 772},
    },
    "bytes_read": 0,
    "user_id": "",
    "duration": 0.000929675,
    "size": 10900,
    "status": 404,
    "resp_headers": {"Server": ["Caddy"], "Vary": ["Origin", "Accept"]},
}
COMBINED = b'203.0.113.9 - - [21/Jul/2025:14:30:00 +0000] "GET /a?b=c HTTP/1.1" 500 12 "-" "curl/8 \\x22x\\x22"'


def parse(line):
    return parse_line(line if isinstance(line, bytes) else json.dumps(line).encode(), "this-host")


def test_a_line_of_nginx_becomes_a_report():
    report = parse(NGINX)
    assert report[:8] == (502, "GET", "https", "api.example.com", "/orders/5", "token=abc&page=2", 250, 1753108200.123)
    assert report.request_headers == [("user-agent", "curl/8"), ("x-request-id", "f00")]


def test_a_request_that_nginx_could_not_read_is_one_too():
    report = parse({**NGINX, "method": "", "uri": "", "host": "", "status": "400"})
    assert report[:5] == (400, "", "https", "this-host", "/")


def test_a_line_of_caddy_becomes_a_report():
    report = parse(CADDY)
    assert report[:6] == (404, "POST", "https", "example.com:8443", "/a/b", "c=d")
    assert report.elapsed_ms == pytest.approx(0.929675)
    assert report.occurred_at == 1646861401.5241024
    assert report.response_headers == [("Server", "Caddy"), ("Vary", "Origin"), ("Vary", "Accept")]


@pytest.mark.parametrize(("ts", "duration"), [("2022-03-09T21:30:01.524Z", "0.9ms"), (1646861401.524, "0.0009s")])
def test_caddys_other_forms_of_time_are_read(ts, duration):
    report = parse({**CADDY, "ts": ts, "duration": duration})
    assert report.occurred_at == 1646861401.524
    assert report.elapsed_ms == pytest.approx(0.9)


def test_what_else_caddy_logs_is_no_access_line():
    with pytest.raises(NoAccessLine):
        parse({**CADDY, "logger": "http.log.error"})
    with pytest.raises(NoAccessLine):
        parse({"level": "info", "ts": 1.0, "logger": "tls", "msg": "cleaning storage unit"})


@pytest.mark.parametrize(
    ("line", "host", "elapsed"),
    [
        (COMBINED, "this-host", 0),
        (COMBINED + b" 0.125", "this-host", 125),
        (COMBINED + b" rt=0.125 upstream=x", "this-host", 125),
        (b"shop.example.com:443 " + COMBINED, "shop.example.com", 0),
    ],
)
def test_a_combined_line_becomes_a_report(line, host, elapsed):
    report = parse(line + b"\n")
    assert (report.status, report.method, report.path, report.query) == (500, "GET", "/a", "b=c")
    assert (report.host, report.elapsed_ms, report.occurred_at) == (host, elapsed, 1753108200)


def test_a_request_line_that_is_no_http_is_one_request():
    line = b'203.0.113.9 - - [21/Jul/2025:14:30:00 +0000] "\\x16\\x03\\x01" 400 150 "-" "-"'
    assert parse(line)[:5] == (400, "", "http", "this-host", "/")


@pytest.mark.parametrize("target", ["*", "example.com:443", "http://[::1/", "http://h/path?q"])
def test_any_request_target_has_a_path(target):
    line = COMBINED.replace(b"/a?b=c", target.encode())
    assert parse(line).path.startswith("/")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"{",
        b"{}",
        b"[" * 100_000,
        b'{"request": {}}',
        b'{"request": 1}',
        b"\xff\xfe\x00\x01",
        b'{"status": "000", "uri": "/", "method": "GET", "time": "1"}',
        b'{"status": 200, "uri": 5, "method": "GET", "time": "1"}',
        b'{"a":' * 5000,
    ],
)
def test_anything_else_is_no_access_line(line):
    with pytest.raises(NoAccessLine):
        parse(line)


def test_a_line_behind_the_zeros_of_a_truncated_file_is_read():
    assert parse(b"\x00" * 50 + json.dumps(NGINX).encode()).status == 502
