import json

import pytest

from arkyn_reporter.redaction import NOT_KEPT, REDACTED, Redactor

redactor = Redactor(["ssn", "x-tenant*", "*pin"])


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Cookie", "set-cookie", "X-Api-Key", "X_API_KEY", "proxy-authorization", "access_token"),
        *("X-Auth", "PassWord", "csrf", "ssn", "SSN", "X-Tenant-Name", "card-pin", "n" * 300),
    ],
)
def test_sensitive_names_are_known(name):
    assert redactor.is_sensitive(name)


@pytest.mark.parametrize("name", ["accept", "user-agent", "author", "ssn-like", "pint", "content-type"])
def test_other_names_are_not(name):
    assert not redactor.is_sensitive(name)


def test_headers_are_redacted_and_gathered():
    pairs = [("Accept", "a"), ("accept", "b"), ("Accept", "c"), ("Cookie", "x=secret"), ("X-Long", "y" * 10_000)]
    headers = redactor.headers(pairs)
    assert headers["accept"] == ["a", "b", "c"]
    assert headers["cookie"] == REDACTED
    assert len(headers["x-long"]) == 8192


def test_urls_in_headers_keep_no_secret():
    headers = redactor.headers(
        [("Referer", "https://u:secret@h/a?token=secret&page=2#secret"), ("Location", "/cb?ssn=secret")]
    )
    assert headers == {"referer": "https://h/a?token=[redacted]&page=2", "location": "/cb?ssn=[redacted]"}
    assert redactor.headers([("Referer", "http://[::1/?token=secret")]) == {"referer": NOT_KEPT}


def test_query_parameters_are_redacted():
    assert redactor.query("a=1&a=2&token=secret&empty=&%73sn=secret") == {
        "a": ["1", "2"],
        "token": REDACTED,
        "empty": "",
        "ssn": REDACTED,
    }
    assert redactor.query("&".join("a=b" for _ in range(5000))) == {}


def test_bodies_are_redacted_by_field():
    body = json.dumps({"user": {"password": "secret", "name": "Ana"}, "cards": [{"pin": "secret"}]}).encode()
    assert redactor.body(body, "application/json; charset=utf-8") == {
        "user": {"password": REDACTED, "name": "Ana"},
        "cards": [{"pin": REDACTED}],
    }
    form = redactor.body(b"password=secret&name=Ana", "application/x-www-form-urlencoded")
    assert form == {"password": REDACTED, "name": "Ana"}
    assert redactor.body(b"hello", "text/plain") == "hello"


@pytest.mark.parametrize("body", [b'{"password": "secret', b"[" * 100_000, b"\xff", b'{"a": 1} secret'])
def test_json_that_cannot_be_read_is_not_kept(body):
    assert redactor.body(body, "application/json") == NOT_KEPT


def test_other_bodies_are_not_kept():
    assert redactor.body(b"secret", "image/png") == NOT_KEPT


def test_one_name_may_be_given_alone():
    assert Redactor("ssn").is_sensitive("ssn")
    assert not Redactor("ssn").is_sensitive("s")
