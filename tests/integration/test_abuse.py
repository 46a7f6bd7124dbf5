"""What keeps strangers, and tokens in wrong hands, from doing harm. docs/security.md names these tests."""

import logging
import time
from types import SimpleNamespace

import pytest

from app.models import TrafficRecord, TrafficSource
from tests.integration.helpers import at_once, codes, count, refused
from tools.story import PASSWORD, UNKNOWN_ID, Client, Story, record

HOME, ELSEWHERE, STRANGER = "192.0.2.1", "192.0.2.2", "203.0.113.9"
ORIGIN = "https://panel.example.com"


@pytest.fixture
def later(monkeypatch):
    """Moves on the clock by which limits are counted."""
    ahead = [0.0]

    def advance(seconds):
        ahead[0] += seconds

    clock = SimpleNamespace(time=lambda: time.time() + ahead[0], monotonic=lambda: time.monotonic() + ahead[0])
    monkeypatch.setattr("limits.storage.memory.time", clock)
    monkeypatch.setattr("app.api.rate_limits.time", clock)
    return advance


def sign_in(client, password=PASSWORD, address=HOME, email="ana@example.com", **options):
    body = {"email": email, "password": password}
    return client.post("/user/auth", body, environ_base={"REMOTE_ADDR": address}, **options)


def sign_up(client, email, address=HOME, **options):
    body = {"name": "A", "email": email, "password": PASSWORD}
    return client.post("/user", body, environ_base={"REMOTE_ADDR": address}, **options)


def must_wait(answer, at_most):
    """The seconds a refusal for too much names, in header and message."""
    body = refused(answer, 429)
    seconds = answer.headers["Retry-After"]
    assert 1 <= int(seconds) <= at_most
    assert f"{int(seconds):,} seconds" in body["message"]
    return int(seconds)


def test_who_guesses_a_password_is_refused_and_the_owner_elsewhere_is_not(client, ana):
    for _ in range(30):
        refused(sign_in(client, "wrong password", STRANGER), 401)
    must_wait(sign_in(client, "wrong password", STRANGER), 900)
    must_wait(sign_in(client, PASSWORD, STRANGER), 900)
    assert sign_in(client, PASSWORD, HOME).status_code == 200
    assert ana.get("/user").status_code == 200


def test_an_address_that_is_refused_for_one_account_may_sign_in_to_another(client, ana, bob):
    while sign_in(client, "wrong password").status_code == 401:
        pass
    assert sign_in(client, email="bob@example.com").status_code == 200


def test_after_the_time_that_was_named_the_password_is_looked_at_again(client, ana, later):
    while sign_in(client, "wrong password").status_code == 401:
        pass
    wait = must_wait(sign_in(client), 900)
    later(wait - 2)
    must_wait(sign_in(client), 2)
    later(3)
    assert sign_in(client).status_code == 200


def test_signing_in_is_not_counted(client, ana, make_app):
    client = Client(make_app(SIGN_IN_ACCOUNT_LIMIT="2 per hour", SIGN_IN_ADDRESS_LIMIT="2 per hour"))
    assert {sign_in(client).status_code for _ in range(10)} == {200}
    assert sign_in(client, "wrong password").status_code == 401
    assert sign_in(client).status_code == 200


def test_an_account_that_is_not_there_is_refused_as_one_that_is(client, ana, make_app):
    client = Client(make_app(SIGN_IN_ACCOUNT_LIMIT="2 per hour"))
    for email in ("ana@example.com", "nobody@example.com"):
        assert [sign_in(client, "wrong password", email=email).status_code for _ in range(4)] == [401, 401, 429, 429]


def test_an_account_attacked_from_everywhere_gives_each_address_one_try_and_its_owner_gets_in(client, ana, make_app):
    client = Client(make_app(SIGN_IN_ACCOUNT_LIMIT="3 per hour", SIGN_IN_ATTACK_LIMIT="6 per hour"))
    first = [sign_in(client, "wrong password", f"203.0.113.{number // 3}").status_code for number in range(6)]
    assert set(first) == {401}
    for number in range(10, 15):
        assert sign_in(client, "wrong password", f"203.0.113.{number}").status_code == 401
        must_wait(sign_in(client, PASSWORD, f"203.0.113.{number}"), 3600)
    for address in (HOME, ELSEWHERE):
        assert sign_in(client, PASSWORD, address).status_code == 200
    assert sign_in(client, "wrong password", HOME).status_code == 401
    must_wait(sign_in(client, PASSWORD, HOME), 3600)


def test_one_address_that_tries_many_accounts_is_refused(client, ana, make_app):
    client = Client(make_app(SIGN_IN_ADDRESS_LIMIT="5 per hour"))
    for number in range(5):
        refused(sign_in(client, "password123", STRANGER, f"user{number}@example.com"), 401)
    must_wait(sign_in(client, "password123", STRANGER, "user5@example.com"), 3600)
    assert sign_in(client, PASSWORD, HOME).status_code == 200


def test_all_addresses_of_one_ipv6_network_are_one(client, make_app):
    client = Client(make_app(SIGN_IN_ADDRESS_LIMIT="2 per hour"))
    answers = [sign_in(client, "wrong", f"2001:db8:0:1::{number}").status_code for number in range(3)]
    assert answers == [401, 401, 429]
    assert sign_in(client, "wrong", "2001:db8:0:2::1").status_code == 401
    for number in range(3):
        assert sign_in(client, "wrong", f"::ffff:192.0.2.{number}").status_code == 401


def test_who_holds_a_token_cannot_guess_the_password_either(client, ana, make_app):
    thief = Client(make_app(SIGN_IN_ACCOUNT_LIMIT="2 per hour"), ana.token)
    change = {"currentPassword": "wrong password", "password": "the thief's own"}
    for _ in range(2):
        refused(thief.put("/user", change), 403)
    must_wait(thief.put("/user", change | {"currentPassword": PASSWORD}), 3600)
    assert thief.put("/user", {"name": "Ana"}).status_code == 200


def test_sign_ups_of_one_address_are_limited(client, make_app):
    client = Client(make_app(SIGN_UP_ADDRESS_LIMIT="3 per hour"))
    assert [sign_up(client, f"{name}@example.com").status_code for name in "abc"] == [201] * 3
    must_wait(sign_up(client, "d@example.com"), 3600)
    assert sign_up(client, "d@example.com", ELSEWHERE).status_code == 201


def test_asking_again_and_again_whether_an_e_mail_has_an_account_is_limited(client, ana, make_app):
    client = Client(make_app(SIGN_UP_ACCOUNT_LIMIT="3 per hour"))
    assert [sign_up(client, "ana@example.com").status_code for _ in range(4)] == [409, 409, 409, 429]
    assert sign_up(client, "new@example.com").status_code == 201


def test_by_default_many_people_behind_one_address_sign_up_and_in(client):
    for number in range(150):
        assert sign_up(client, f"user{number}@example.com").status_code == 201
        assert sign_in(client, email=f"user{number}@example.com").status_code == 200


def fail_from(client, forwarded, count):
    headers = {"X-Forwarded-For": forwarded}
    return [sign_in(client, "wrong", "127.0.0.1", f"user{n}@example.com", headers=headers) for n in range(count)]


def test_an_address_that_a_client_claims_is_not_believed(make_app):
    client = Client(make_app(SIGN_IN_ADDRESS_LIMIT="2 per hour"))
    answers = [fail_from(client, f"203.0.113.{number}", 1)[0] for number in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]


def test_the_address_that_a_trusted_proxy_names_is_believed_and_what_stands_before_it_is_not(make_app):
    client = Client(make_app(SIGN_IN_ADDRESS_LIMIT="2 per hour", TRUSTED_PROXIES="1"))
    assert codes(fail_from(client, f"spoofed-{time.time()}, 203.0.113.1", 3)) == [401, 401, 429]
    assert codes(fail_from(client, "198.51.100.7, 203.0.113.1", 1)) == [429]
    assert codes(fail_from(client, "203.0.113.1, 203.0.113.2", 1)) == [401]
    for strange in ("unknown", "é", "' OR 1=1", "1.2.3.4:80", "fe80::1%eth0", "x" * 5_000):
        assert codes(fail_from(client, strange, 1)) == [401], strange


def test_the_storage_of_limits_holds_neither_e_mails_nor_addresses(app, client, ana):
    sign_in(client, "wrong password", STRANGER)
    keys = str(list(app.extensions["counts"].storage.storage))
    assert "SIGN_IN_ACCOUNT_LIMIT" in keys
    assert not [told for told in ("ana", "example.com", "203.0") if told in keys]


def test_while_the_storage_of_limits_fails_requests_are_served_and_limited(ana, make_app, monkeypatch, caplog, later):
    app = make_app(SIGN_IN_ACCOUNT_LIMIT="2 per hour", INGEST_RATE_LIMIT="1 per hour")
    monkeypatch.setattr(logging.getLogger("app"), "handlers", [caplog.handler])

    def fail(*_, **__):
        raise ConnectionError("redis://:canary-password@host")

    storage = app.extensions["counts"].storage
    with monkeypatch.context() as patch:
        patch.setattr(storage, "incr", fail)
        patch.setattr(storage, "get", fail)
        client = Client(app, ana.token)
        assert [sign_in(client, "wrong").status_code for _ in range(3)] == [401, 401, 429]
        story = Story(client)
        story.report()
        refused(client.post(f"/http-traffic-records/{story.source_id}", record()), 429)
        assert caplog.text.count("storage of rate limits fails (ConnectionError)") == 1
        assert "canary" not in caplog.text
    assert sign_in(client, "wrong").status_code == 429, "the storage is left alone for a while"
    later(10)
    assert sign_in(client, "wrong").status_code == 401


def test_a_user_has_no_more_sources_than_the_setting_says(ana, bob, make_app, app):
    limited = make_app(MAX_SOURCES_PER_USER="2")
    ana, bob = Client(limited, ana.token), Client(limited, bob.token)
    first, _ = (ana.create_source(f"{name}.example.com") for name in "ab")
    must_wait(ana.post("/traffic-sources", {"name": "c", "trafficDomain": "c.example.com"}), 3600)
    refused(ana.post("/traffic-sources", {"name": "a", "trafficDomain": "a.example.com"}), 409)
    assert count(app, TrafficSource) == 2
    bob.create_source("a.example.com")
    ana.delete(f"/traffic-sources/{first}")
    ana.create_source("c.example.com")


def test_sources_made_at_once_are_no_more_than_the_setting_says(ana, make_app, app):
    ana = Client(make_app(MAX_SOURCES_PER_USER="3"), ana.token)

    def create(number):
        return lambda: ana.post("/traffic-sources", {"name": "x", "trafficDomain": f"{number}.example.com"})

    assert codes(at_once(*map(create, range(8)))) == [201] * 3 + [429] * 5
    assert count(app, TrafficSource) == 3


@pytest.fixture
def limited(story, make_app):
    """Ana's source, which takes 10 records an hour."""
    story.client = Client(make_app(INGEST_RATE_LIMIT="10 per hour"), story.client.token)
    return story


def test_one_source_takes_no_more_records_than_the_setting_says(limited, app, later):
    for _ in range(6):
        limited.report()
    must_wait(limited.client.post(f"/http-traffic-records/{limited.source_id}/batch", [record()] * 5), 3600)
    limited.report_batch(*[record()] * 4)
    must_wait(limited.client.post("/ingest-log", record(trafficSourceId=limited.source_id)), 3600)
    assert count(app, TrafficRecord) == 10
    Story(limited.client, domain="other.example.com").report()
    later(3601)
    limited.report()


def test_a_batch_larger_than_the_whole_limit_is_taken_once_per_window(limited, later):
    limited.report_batch(*[record()] * 50)
    refused(limited.client.post(f"/http-traffic-records/{limited.source_id}/batch", [record()] * 50), 429)
    later(3601)
    limited.report_batch(*[record()] * 50)


def test_who_may_not_report_uses_nothing_up_and_learns_nothing(limited, bob):
    path = f"/http-traffic-records/{limited.source_id}"
    strangers = {403: Client(limited.client.app, bob.token), 401: Client(limited.client.app, "ingest_x")}
    for code, stranger in strangers.items():
        for _ in range(20):
            refused(stranger.post(path, record()), code)
    refused(limited.client.post(path, record(status="x")), 400)
    limited.report_batch(*[record()] * 10)
    for code, stranger in strangers.items():
        refused(stranger.post(path, record()), code)
    refused(limited.client.post(f"/http-traffic-records/{UNKNOWN_ID}", record()), 404)
    refused(limited.client.post(path, record()), 429)


class Endless:
    """A body that never ends, and how much of it was read."""

    def __init__(self):
        self.taken = 0
        self.sent_with = {
            "wsgi.input": self,
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "CONTENT_TYPE": "application/json",
        }

    def readinto(self, buffer):
        self.taken += len(buffer)
        assert self.taken < 50_000_000
        buffer[:] = b"[" * len(buffer)
        return len(buffer)

    def read(self, size=-1):
        self.taken += size
        assert 0 <= self.taken < 50_000_000
        return b"[" * size


def test_a_body_without_an_end_is_read_to_its_limit_only(story):
    report = f"/http-traffic-records/{story.source_id}"
    small = ("/user", "/user/auth", "/traffic-sources", f"/webhooks/{story.source_id}")
    limits = {f"{report}/batch": 16, report: 8, "/ingest-log": 8} | dict.fromkeys(small, 2)
    for path, mebibytes in limits.items():
        body = Endless()
        refused(story.client.request("POST", path, environ_overrides=body.sent_with), 413)
        assert body.taken <= (mebibytes + 1) * 1024 * 1024


def test_a_body_where_none_belongs_is_not_read(ana):
    for method, path in [("GET", "/user"), ("DELETE", f"/webhooks/{UNKNOWN_ID}"), ("GET", "/nothing")]:
        body = Endless()
        ana.request(method, path, environ_overrides=body.sent_with)
        assert body.taken == 0, path


PAGES = ["/healthz", "/user", "/nothing", "/docs", "/docs/swagger-ui.css", "/docs/none.js", "/openapi.json", "/metrics"]


def test_every_answer_tells_browsers_to_keep_out(ana, client, monkeypatch):
    answers = [each.get(path) for each in (ana, client) for path in PAGES]
    answers += [client.request("OPTIONS", "/user"), client.request("PATCH", "/user"), client.post("/user", {})]
    with monkeypatch.context() as patch:
        patch.setattr("app.repositories.traffic_sources.list_of", lambda *_: 1 / 0)
        answers.append(ana.get("/traffic-sources"))
    assert {answer.status_code for answer in answers} == {200, 400, 404, 405, 500}
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert len(answer.headers.getlist("Content-Security-Policy")) == 1
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
        assert "Strict-Transport-Security" not in answer.headers
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]
        answer.close()


def test_no_answer_of_the_api_is_kept_by_a_cache(ana, client):
    assert {ana.get(path).headers["Cache-Control"] for path in PAGES if not path.startswith("/docs/")} == {"no-store"}
    assert sign_in(client).headers["Cache-Control"] == "no-store"


def test_https_is_asked_for_where_a_trusted_proxy_says_that_it_is_used(client, make_app):
    headers = {"X-Forwarded-Proto": "https"}
    trusting = Client(make_app(TRUSTED_PROXIES="1"))
    assert "Strict-Transport-Security" not in client.get("/healthz", headers=headers).headers
    assert "Strict-Transport-Security" not in trusting.get("/healthz").headers
    assert trusting.get("/healthz", headers=headers).headers["Strict-Transport-Security"] == "max-age=31536000"


def cors(answer):
    return {name: value for name, value in answer.headers if name.startswith("Access-Control-")}


def preflight(client, origin=ORIGIN, path="/user"):
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization, content-type"}
    return client.request("OPTIONS", path, headers={"Origin": origin} | asked)


def test_pages_of_other_origins_read_nothing_unless_a_setting_lets_them(client):
    assert cors(client.get("/healthz", headers={"Origin": ORIGIN})) == {}
    assert cors(preflight(client)) == {}


def test_pages_of_the_origins_in_the_setting_may_call_the_api(client, ana, make_app):
    app = make_app(CORS_ORIGINS=f"https://other.example.com, {ORIGIN}")
    allowed = cors(preflight(Client(app)))
    assert allowed["Access-Control-Allow-Origin"] == ORIGIN
    assert allowed["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert allowed["Access-Control-Allow-Methods"] == "DELETE, GET, POST, PUT"
    answer = Client(app, ana.token).get("/user", headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert "Origin" in answer.headers["Vary"]
    failed = Client(app).get("/user", headers={"Origin": ORIGIN})
    assert failed.status_code == 400
    assert failed.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin", ["https://evil.com", f"{ORIGIN}.evil.com", "http://panel.example.com", "null", "", "*"]
)
def test_pages_of_origins_that_are_not_in_the_setting_read_nothing(make_app, origin):
    client = Client(make_app(CORS_ORIGINS=ORIGIN))
    for answer in (preflight(client, origin), client.get("/healthz", headers={"Origin": origin})):
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_no_page_ever_calls_with_credentials_of_the_browser(make_app):
    for origins in (ORIGIN, "*"):
        answer = preflight(Client(make_app(CORS_ORIGINS=origins)))
        assert answer.headers["Access-Control-Allow-Origin"] == origins
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_refusal_for_too_much_is_documented_with_its_header(client):
    document = client.get("/openapi.json").json
    limited = {
        operation["operationId"]: operation["responses"]["429"]
        for operations in document["paths"].values()
        for method, operation in operations.items()
        if method != "parameters" and "429" in operation["responses"]
    }
    assert set(limited) == {
        "createUser",
        "signIn",
        "updateUser",
        "deleteUser",
        "mailPasswordLink",
        "shareTrafficSource",
        "createTrafficSource",
        "createAlert",
        "createIngestToken",
        "testWebhook",
        "createTrafficRecord",
        "createTrafficRecords",
        "ingestLog",
        "ingestTraces",
    }
    for response in limited.values():
        assert response["headers"]["Retry-After"]["schema"] == {"type": "integer"}
