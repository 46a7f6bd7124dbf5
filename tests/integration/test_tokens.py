"""Every way a token can be wrong, on every kind of route."""

import base64
import hmac
import json
import re
import time
from types import SimpleNamespace

import jwt
import pytest
from flask_jwt_extended import create_refresh_token
from sqlalchemy import delete

from app.models import User
from tests.integration.helpers import api_rules, refused, write
from tools.story import UNKNOWN_ID, Client

ROUTES = [
    ("GET", "/user"),
    ("POST", "/user/logout"),
    ("POST", "/traffic-sources"),
    ("DELETE", f"/traffic-sources/{UNKNOWN_ID}"),
    ("POST", f"/webhooks/{UNKNOWN_ID}"),
    ("POST", f"/http-traffic-records/{UNKNOWN_ID}"),
    ("POST", f"/http-traffic-records/{UNKNOWN_ID}/batch"),
    ("POST", "/ingest-log"),
    ("POST", "/v1/traces"),
    ("GET", f"/http-traffics/{UNKNOWN_ID}"),
]
PUBLIC = {
    ("POST", "/user/forgot-password-token/email/<path:email>"),
    ("POST", "/user/validate-forgot-password-token/token/<token>"),
    ("POST", "/user/change-password-by-token/token/<token>"),
    ("GET", "/health-check"),
    ("POST", "/user"),
    ("POST", "/user/auth"),
    *(("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/<path:filename>")),
}
# A server takes no header longer than 8 KiB.
DEEP = "[" * 3000 + "]" * 3000


def encoded(part: bytes | str) -> str:
    raw = part.encode() if isinstance(part, str) else part
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class Forger:
    """Makes tokens out of a good one."""

    def __init__(self, token: str, key: str) -> None:
        self.token, self.key = token, key
        self.header, self.payload, self.signature = token.split(".")
        self.header_fields, self.claims = decoded(self.header), decoded(self.payload)

    def signed(self, key: str | None = None, **claims) -> str:
        kept = {name: value for name, value in (self.claims | claims).items() if value is not ...}
        return jwt.encode(kept, key or self.key, "HS256")

    def with_header(self, signature: str | None = None, **fields) -> str:
        header = json.dumps(self.header_fields | fields)
        return f"{encoded(header)}.{self.payload}.{self.signature if signature is None else signature}"

    def with_sha512(self) -> str:
        signed = f"{encoded(json.dumps({'alg': 'HS512', 'typ': 'JWT'}))}.{self.payload}"
        return f"{signed}.{encoded(hmac.digest(self.key.encode(), signed.encode(), 'sha512'))}"

    def with_payload(self, payload: bytes) -> str:
        return jwt.api_jws.encode(payload, self.key, "HS256")


def swapped(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


FORGERIES = {
    "no jwt": lambda f: "abc",
    "two parts": lambda f: f"{f.header}.{f.payload}",
    "four parts": lambda f: f"{f.token}.{f.signature}",
    "empty parts": lambda f: "..",
    "not base64": lambda f: f"{f.header}.!!!.{f.signature}",
    "not ascii": lambda f: "é.é.é",
    "very long": lambda f: "a" * 8000,
    "two tokens": lambda f: f"{f.token} {f.token}",
    "tampered payload": lambda f: f"{f.header}.{encoded(json.dumps(f.claims | {'ver': 1}))}.{f.signature}",
    "tampered signature": lambda f: f"{f.header}.{f.payload}.{swapped(f.signature, 10)}",
    "no signature": lambda f: f"{f.header}.{f.payload}.",
    "other key": lambda f: f.signed(key="another key that is also long enough"),
    "other algorithm": lambda f: f.with_sha512(),
    "alg none": lambda f: f.with_header(alg="none", signature=""),
    "alg None with a signature": lambda f: f.with_header(alg="None"),
    "alg is no text": lambda f: f.with_header(alg={"a": 1}),
    "kid is no text": lambda f: f.with_header(kid=5),
    "header is no object": lambda f: f"{encoded('[1]')}.{f.payload}.{f.signature}",
    "payload is no object": lambda f: f.with_payload(b"[1]"),
    "payload is no json": lambda f: f.with_payload(b"\xff\x00"),
    "huge number": lambda f: f.with_payload(b'{"exp": ' + b"9" * 5000 + b"}"),
    "deep header": lambda f: f"{encoded(DEEP)}.{f.payload}.{f.signature}",
    "deep payload": lambda f: f"{f.header}.{encoded(DEEP)}.{f.signature}",
    "deep payload, well signed": lambda f: f.with_payload(DEEP.encode()),
    "expired": lambda f: f.signed(exp=int(time.time()) - 1),
    "not valid yet": lambda f: f.signed(nbf=int(time.time()) + 3600),
    "refresh token": lambda f: f.signed(type="refresh"),
    "kind of no text": lambda f: f.signed(type=["access"]),
    "older version": lambda f: f.signed(ver=f.claims["ver"] - 1),
    "no version": lambda f: f.signed(ver=...),
    "version of no number": lambda f: f.signed(ver="first"),
    "huge version": lambda f: f.signed(ver=2**70),
    "no subject": lambda f: f.signed(sub=...),
    "subject is no id": lambda f: f.signed(sub="ana@example.com"),
    "subject with NUL": lambda f: f.signed(sub="\x00"),
    "unknown subject": lambda f: f.signed(sub=UNKNOWN_ID),
    "no token id": lambda f: f.signed(jti=...),
    "no expiry": lambda f: f.signed(exp=...),
    "unknown ingest token": lambda f: "ingest_" + "a" * 43,
    "empty ingest token": lambda f: "ingest_",
}


@pytest.fixture
def forger(app, ana) -> Forger:
    return Forger(ana.token, app.config["JWT_SECRET_KEY"])


def answers(client, **options):
    """What each route says to a client: its path, its code and its message."""
    for method, path in ROUTES:
        answer = client.request(method, path, **options)
        assert answer.status_code in (400, 401), f"{method} {path}: {answer.text}"
        yield refused(answer, answer.status_code)


@pytest.mark.parametrize(
    "header", [None, "", " ", "Basic YW5hOnB3", "Token abc", "Bearer", "Bearer ", "bearer", "the-token"]
)
def test_without_a_bearer_token_every_route_says_that_it_is_missing(client, header):
    headers = {} if header is None else {"Authorization": header}
    missing = {"code": 400, "status": "Bad Request", "message": "Missing authentication token."}
    assert [*answers(client, headers=headers)] == [missing] * len(ROUTES)


def test_a_token_without_its_scheme_counts_as_missing(client, ana):
    refused(client.get("/user", headers={"Authorization": ana.token}), 400)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_the_scheme_is_read_in_either_case(client, ana, scheme):
    assert client.get("/user", headers={"Authorization": scheme + ana.token}).status_code == 200


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_token_that_is_not_ours_is_refused_by_every_route(app, forger, forgery):
    assert {answer["code"] for answer in answers(Client(app, FORGERIES[forgery](forger)))} == {401}


def test_the_forger_makes_good_tokens_where_nothing_is_changed(app, forger):
    assert Client(app, forger.signed()).get("/user").status_code == 200


def test_a_refresh_token_signs_nobody_in(app, ana):
    with app.app_context():
        token = create_refresh_token(identity=ana.get("/user").json["id"], additional_claims={"ver": 0})
    assert {answer["code"] for answer in answers(Client(app, token))} == {401}


def test_a_token_ends_after_the_set_time(make_app, ana):
    short = make_app(JWT_ACCESS_TOKEN_EXPIRES="60")
    claims = decoded(Client(short).sign_in("ana@example.com").token.split(".")[1])
    assert claims["exp"] - claims["iat"] == 60


def test_a_token_that_was_used_all_the_time_ends_when_it_expires(app, ana, monkeypatch):
    """What was found out about it once is remembered; that its end has not come is not."""
    expires_at = decoded(ana.token.split(".")[1])["exp"]
    for seconds, code in [(-2, 200), (-1, 200), (0, 401), (1, 401)]:
        monkeypatch.setattr("app.api.auth.time", SimpleNamespace(time=lambda at=expires_at + seconds: at))
        assert ana.get("/user").status_code == code
    assert {answer["code"] for answer in answers(ana)} == {401}


def test_a_token_of_a_deleted_user_is_refused(app, ana):
    write(app, delete(User))
    assert {answer["code"] for answer in answers(ana)} == {401}


def test_a_revoked_token_is_refused_by_every_route(ana):
    ana.post("/user/logout")
    assert {answer["code"] for answer in answers(ana)} == {401}


def test_a_revocation_holds_in_every_process_over_the_same_database(make_app, client, ana):
    kept = client.sign_in("ana@example.com")
    ana.post("/user/logout")
    other = make_app()
    refused(Client(other, ana.token).get("/user"), 401)
    assert Client(other, kept.token).get("/user").status_code == 200


def test_a_token_signed_with_another_key_of_ours_is_refused(make_app, ana):
    rotated = make_app(JWT_SECRET_KEY="the next key, which is long enough too")
    refused(Client(rotated, ana.token).get("/user"), 401)


def test_every_route_but_the_public_ones_wants_a_token(app, client):
    for rule in api_rules(app):
        path = re.sub(r"<[^>]+>", UNKNOWN_ID, rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            if (method, rule.rule) not in PUBLIC:
                assert refused(client.request(method, path), 400)["message"] == "Missing authentication token."
