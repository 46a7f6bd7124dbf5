"""What is kept of reported traffic holds no secret and is no longer than a preview."""

from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.json_input import TOO_DEEP, ValueBudget
from app.security import redaction
from app.security.redaction import (
    MAX_DUMPED_LENGTH,
    REDACTED,
    Work,
    dump,
    is_sensitive,
    preview,
    redact,
    truncate,
)
from tests.support import examples

SECRET = "canary-hunter2"
UNLIMITED = 10**9


def redacted(value: Any) -> Any:
    return redact(value, Work(UNLIMITED))


SENSITIVE = [
    "authorization",
    "Authorization",
    "AUTHORIZATION",
    "Proxy-Authorization",
    "authorisation",
    "auth",
    "x-auth",
    "X-Auth-Token",
    "X-Auth-Key",
    "cookie",
    "Cookie",
    "Set-Cookie",
    "set_cookie2",
    "X-Api-Key",
    "x_api_key",
    "apiKey",
    "APIKEY",
    "api.key",
    "API Key",
    "accessKey",
    "access_key_id",
    "private-key",
    "password",
    "Password",
    "passwd",
    "pwd",
    "newPassword",
    "password_confirmation",
    "pass_word",
    "passphrase",
    "secret",
    "client_secret",
    "token",
    "access_token",
    "refreshToken",
    "id-token",
    "X-CSRF-Token",
    "csrfmiddlewaretoken",
    "X-XSRF",
    "session",
    "sessionid",
    "PHPSESSID",
    "connect.session",
    "credentials",
    "jwt",
    "X-Hub-Signature-256",
    "X-Amz-Security-Token",
    "\tAuthorization ",
]
HARMLESS = [
    "accept",
    "Accept-Language",
    "Content-Type",
    "content-length",
    "host",
    "User-Agent",
    "X-Request-Id",
    "Referer",
    "author",
    "authority",
    ":authority",
    "page",
    "key",
    "name",
    "email",
    "passenger",
    "",
    "é",
]


@pytest.mark.parametrize("name", SENSITIVE)
def test_values_under_a_sensitive_name_are_redacted(name: str) -> None:
    assert is_sensitive(name)
    assert redacted({name: SECRET}) == {name: REDACTED}
    assert redacted({name: [SECRET, {"a": SECRET}]}) == {name: REDACTED}
    assert redacted([[name, SECRET]]) == [[name, REDACTED]]
    assert SECRET not in dump({"deep": [{"er": {name: SECRET}}, [name, SECRET]]})


@pytest.mark.parametrize("name", HARMLESS)
def test_values_under_a_harmless_name_are_kept(name: str) -> None:
    assert not is_sensitive(name)
    assert redacted({name: "value"}) == {name: "value"}
    assert redacted([[name, "value"]]) == [[name, "value"]]


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "", "text", [], {}, ["a", "b"], [1, 2], [["a"], "b"]])
def test_a_value_without_secrets_is_kept(value: Any) -> None:
    assert redacted(value) == value


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {SECRET}", "accept": "*/*"},
        {"Cookie": [SECRET, SECRET]},
        [["Authorization", f"Bearer {SECRET}"], ["accept", "*/*"]],
        [["Set-Cookie", SECRET], ["Set-Cookie", SECRET]],
        ["Authorization", SECRET],
        ["accept", "*/*", "Authorization", f"Bearer {SECRET}"],
        [{"name": "Authorization", "value": SECRET}],
        [{"name": "Authorization", "value": "Basic", "password": SECRET}],
    ],
)
def test_headers_are_redacted_in_every_form_that_reporters_use(headers: Any) -> None:
    assert SECRET not in dump(headers)


def test_of_a_pair_that_is_an_object_only_the_value_of_a_sensitive_name_is_left_out() -> None:
    harmless = [{"name": "accept", "value": "*/*", "at": 1}, {"name": 5, "value": "five"}]
    sensitive = {"name": "Authorization", "value": SECRET, "at": 1, "path": "/"}
    assert redacted(harmless) == harmless
    assert redacted(sensitive) == {"name": "Authorization", "value": REDACTED, "at": 1, "path": "/"}


def test_only_the_secrets_of_headers_are_left_out() -> None:
    headers = {"accept": "*/*", "cookie": SECRET, "x": [["token", SECRET], ["page", 1]]}
    assert orjson.loads(dump(headers)) == {
        "accept": "*/*",
        "cookie": REDACTED,
        "x": [["token", REDACTED], ["page", 1]],
    }
    assert dump(None) == ""
    assert dump({}) == "{}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
sensitive_names = st.sampled_from(["Authorization", "set-cookie", "password", "x-api-key", "token"])
with_secrets = st.recursive(
    st.dictionaries(sensitive_names, st.just(SECRET), min_size=1)
    | st.tuples(sensitive_names, st.just(SECRET)).map(list),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@examples(100)
@given(with_secrets)
def test_no_secret_is_kept_wherever_it_stands(value: Any) -> None:
    before = deepcopy(value)
    assert SECRET not in dump(value)
    assert SECRET not in preview(value, UNLIMITED)
    assert SECRET not in preview(orjson.dumps(value).decode(), UNLIMITED)
    assert value == before


@examples(100)
@given(json_values | with_secrets)
def test_what_is_redacted_stays_as_it_is(value: Any) -> None:
    once = redacted(value)
    assert redacted(once) == once


@examples(100)
@given(json_values, st.integers(0, 200))
def test_a_preview_of_any_body_is_storable_text_within_its_limit(body: Any, limit: int) -> None:
    for form in (body, orjson.dumps(body).decode()):
        kept = preview(form, limit)
        assert len(kept.encode()) <= limit
        assert "\x00" not in kept


def nested(depth: int, innermost: Any) -> Any:
    value = innermost
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("depth", [0, 1, 30, 31, 32, 33, 100, 1000])
def test_no_depth_hides_a_secret(depth: int) -> None:
    value = nested(depth, {"password": SECRET})
    assert SECRET not in dump(value)
    assert SECRET not in preview(value, UNLIMITED)
    assert orjson.loads(dump(value)) == redacted(value)


@pytest.mark.parametrize("depth", [10, 1000, 1024, 2000, 100_000])
def test_no_depth_beside_it_hides_a_secret_in_text(depth: int) -> None:
    text = f'{{"password": "{SECRET}", "deep": {"[" * depth}{"]" * depth}}}'
    assert SECRET not in preview(text, UNLIMITED)


def test_what_is_nested_reasonably_is_kept_whole() -> None:
    value = nested(30, "innermost")
    assert redacted(value) == value


def test_what_is_nested_too_deep_is_said_to_be() -> None:
    assert redacted(nested(32, "innermost")) == nested(32, "innermost")
    assert redacted(nested(33, "innermost")) == nested(33, TOO_DEEP)


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps({"password": SECRET}).decode(),
        f' {{"a": [["cookie", "{SECRET}"]]}}\n',
        orjson.dumps(orjson.dumps({"password": SECRET}).decode()).decode(),
        {"payload": orjson.dumps({"password": SECRET}).decode()},
        f"user=ana&password={SECRET}",
    ],
)
def test_a_body_that_is_text_is_redacted_by_what_it_holds(body: Any) -> None:
    kept = preview(body, UNLIMITED)
    assert SECRET not in kept
    assert kept


@pytest.mark.parametrize(
    "text",
    [
        f"POST / HTTP/1.1\nAuthorization: Bearer {SECRET}\n",
        f"Authorization: Basic {SECRET}",
        f"Authorization: ApiKey {SECRET}",
        f'Authorization: Digest username="ana", response="{SECRET}"',
        f"Cookie: a=1; sid={SECRET}",
        f"curl -H 'X-Api-Key: {SECRET}'",
        f"https://api.example.com/?page=1&access_token={SECRET}",
        f"{{'password': '{SECRET}'}}",
        f"password={SECRET}",
    ],
)
def test_other_text_is_searched_for_secrets(text: str) -> None:
    assert SECRET not in preview(text, UNLIMITED)
    assert SECRET not in dump({"note": text})


@pytest.mark.parametrize(
    "value",
    [
        {"password": SECRET},
        {"passwords": [SECRET, SECRET]},
        {"token": {"value": SECRET}},
        {"headers": [["Authorization", SECRET]]},
        {"headers": [{"name": "Cookie", "value": SECRET}]},
    ],
)
def test_a_long_body_is_redacted_like_a_short_one(value: dict[str, Any]) -> None:
    body = orjson.dumps(value | {"filler": "x" * 200_000}).decode()
    assert SECRET not in preview(body, 4096)
    assert SECRET not in preview(orjson.loads(body), 4096)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (None, ""),
        ("", ""),
        ("null", ""),
        ("plain text", "plain text"),
        ("<html></html>", "<html></html>"),
        ("{broken", "{broken"),
        ('{ "a" : 1.50 }', '{ "a" : 1.50 }'),
        ("17", "17"),
        (17, "17"),
        (True, "true"),
        ([1, "ü"], '[1,"ü"]'),
        ({"a": None}, '{"a":null}'),
        ('{"token": 1, "a": 2}', f'{{"token":"{REDACTED}","a":2}}'),
        ('"text"', '"text"'),
    ],
)
def test_a_preview_shows_a_body_as_it_was(body: Any, kept: str) -> None:
    assert preview(body, UNLIMITED) == kept


@pytest.mark.parametrize("body", ["\x00", "a\x00b", "\x00" * 5, {"a\x00": "\x00"}, '{"a": "\\u0000"}', ["\x00"]])
def test_nothing_is_kept_that_a_database_refuses(body: Any) -> None:
    assert "\x00" not in preview(body, UNLIMITED)
    assert "\x00" not in dump(body)
    assert preview(body, UNLIMITED)


def test_a_secret_beyond_the_preview_does_not_slip_in_by_the_cut() -> None:
    body = orjson.dumps({"token": SECRET, "a": "x" * 100}).decode()
    assert all(SECRET not in preview(body, limit) for limit in range(len(body) + 1))


@pytest.mark.parametrize(
    ("text", "limit", "start"),
    [
        ("", 0, ""),
        ("a", 0, ""),
        ("abc", 2, "ab"),
        ("abc", 3, "abc"),
        ("é", 1, ""),
        ("aé", 2, "a"),
        ("aé", 3, "aé"),
        ("€€", 5, "€"),
        ("\N{PILE OF POO}", 3, ""),
        ("\N{PILE OF POO}", 4, "\N{PILE OF POO}"),
        ("a" * 4095 + "é", 4096, "a" * 4095),
    ],
)
def test_a_text_is_cut_between_characters(text: str, limit: int, start: str) -> None:
    assert truncate(text, limit) == start


@examples(120)
@given(st.text(st.sampled_from("aé€\N{PILE OF POO}\x00\N{COMBINING ACUTE ACCENT}")) | st.text(), st.integers(0, 60))
def test_the_longest_start_that_fits_is_kept(text: str, limit: int) -> None:
    kept = truncate(text, limit)
    assert text.startswith(kept)
    assert len(kept.encode()) <= limit
    assert kept == text or len(text[: len(kept) + 1].encode()) > limit


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ('{"a": 1}', '{"a":1}'),
        ("[]", "[]"),
        ("null", ""),
        (None, ""),
        ('"a"', '"a"'),
        ({"a": 1}, '{"a":1}'),
        (7, "7"),
        ("text", '"text"'),
        ("", '""'),
        ("{'a': 1}", '"[not kept]"'),
        (f'[["Authorization", "Bearer {SECRET}"], ["acc', '"[not kept]"'),
        ("\x00", '"\\u0000"'),
        (f"cookie: {SECRET}", f'"cookie: {REDACTED}"'),
    ],
)
def test_headers_are_kept_as_json_text_whatever_form_they_come_in(value: Any, kept: str) -> None:
    assert dump(value) == kept


@pytest.mark.parametrize("value", ["[" * 200_000, "x" * 200_000, {"a": "é" * 200_000}, ["x" * 50] * 5_000])
def test_headers_are_kept_up_to_a_length_as_json_text(value: Any) -> None:
    kept = dump(value)
    assert len(kept) <= 2 * MAX_DUMPED_LENGTH
    assert isinstance(orjson.loads(kept), str)


def test_nothing_is_kept_of_what_a_budget_does_not_allow() -> None:
    body = orjson.dumps({"a": [1] * 100, "b": {"password": SECRET}, "token": {"x": SECRET}, "c": SECRET}).decode()
    assert dump(body, ValueBudget(50)) == '"[not kept]"'
    assert preview(body, UNLIMITED, ValueBudget(50)) == "[not kept]"
    assert orjson.loads(preview(body, UNLIMITED, ValueBudget(500)))["c"] == SECRET


@pytest.mark.parametrize(
    "body",
    [
        f'{{"a":{{"password":"{SECRET}"}},"a":1}}',
        f'{{"password":"{SECRET}","password":"{REDACTED}"}}',
        f'{{"a":{{"token":{{"x":"{SECRET}"}}}},"a":1}}',
    ],
)
def test_a_key_that_stands_twice_hides_no_secret(body: str) -> None:
    assert SECRET not in preview(body, UNLIMITED)


@pytest.mark.parametrize("encode", [lambda body: body, lambda body: orjson.dumps(body).decode()])
@pytest.mark.parametrize(
    "body",
    [
        ["a:" + "x" * 40] * 170_000,
        {f"name-{number}": "token=x" for number in range(100_000)},
        [["authorization", SECRET]] * 100_000,
        ["token=" + "x" * 60_000] * 130,
        list(range(500_000)),
    ],
)
def test_of_a_body_of_megabytes_no_more_is_gone_through_than_is_kept(body, encode, monkeypatch):
    searched = []
    search = redaction.redact_text

    def counting(text):
        searched.append(len(text))
        return search(text)

    monkeypatch.setattr(redaction, "redact_text", counting)
    kept = preview(encode(body), 4096)
    assert len(kept) <= 4096
    assert SECRET not in kept
    assert sum(searched) <= redaction.MAX_SEARCHED_LENGTH + MAX_DUMPED_LENGTH
