"""Create Webhook as it is documented, and the rest of a webhook's life."""

import time
from functools import partial

import pytest

from app.models import Webhook
from app.repositories import webhooks
from tests.integration.helpers import at_once, codes, count, is_id, is_time, refused, wrong_fields
from tests.support import in_days, without
from tools.story import CHANNEL, UNKNOWN_ID, WEBHOOK_URL, Client, webhook

FIELDS = {"id", "type", "level", "value", "trafficSourceId", "createdAt", "updatedAt"}
TAKEN = "A webhook for this severity level already exists on this traffic source."
VALUES = [
    CHANNEL,
    "1",
    "00042",
    "18446744073709551615",
    WEBHOOK_URL,
    f"{WEBHOOK_URL}?thread_id=18446744073709551615",
    "https://discord.com/api/v10/webhooks/987654321/abc_DEF-123",
    "https://discordapp.com/api/webhooks/987654321/abc",
    "https://ptb.discord.com/api/webhooks/987654321/abc",
    "https://canary.discord.com/api/v9/webhooks/18446744073709551615/abc?thread_id=1",
]
NO_VALUES = [
    "",
    " ",
    "general",
    "-1",
    "1.5",
    " 123",
    "123 ",
    "123\n",
    "123\x00",
    "１２３",
    "123456789012345678901",
    "18446744073709551616",
    WEBHOOK_URL.replace("https", "http"),
    WEBHOOK_URL.replace("https", "HTTPS"),
    WEBHOOK_URL.replace("discord.com", "discord.com.evil.example"),
    WEBHOOK_URL.replace("discord.com", "evil.example"),
    WEBHOOK_URL.replace("discord.com", "evil.example#discord.com"),
    WEBHOOK_URL.replace("discord.com", "discord.com@evil.example"),
    WEBHOOK_URL.replace("discord.com", "discord.com:8443"),
    WEBHOOK_URL.replace("discord.com", "discordXcom"),
    WEBHOOK_URL.replace("api/", "api/../"),
    WEBHOOK_URL.replace("987654321", "18446744073709551616"),
    WEBHOOK_URL.replace("987654321", "abc"),
    f" {WEBHOOK_URL}",
    f"{WEBHOOK_URL}\n",
    f"{WEBHOOK_URL}/",
    f"{WEBHOOK_URL}/slack",
    f"{WEBHOOK_URL}?wait=true",
    f"{WEBHOOK_URL}?thread_id=",
    f"{WEBHOOK_URL}?thread_id=18446744073709551616",
    f"{WEBHOOK_URL}?thread_id=1&wait=true",
    f"{WEBHOOK_URL}#x",
    f"https://discord.com/api/webhooks/1/{'x' * 201}",
    "https://discord.com/api/webhooks/1/{token}",
    "https://discord.com/api/webhooks/987654321",
    "https://discord.com/channels/1/2",
]


@pytest.fixture
def path(story) -> str:
    return f"/webhooks/{story.source_id}"


@pytest.mark.parametrize("level", ["fatal", "warning", "info"])
def test_a_new_webhook_has_exactly_its_fields(ana, story, path, level):
    answer = ana.post(path, {"type": "discord", "level": level, "value": "123456789"})
    assert answer.status_code == 201
    assert answer.content_type == "application/json"
    assert set(answer.json) == FIELDS
    assert is_id(answer.json["id"])
    assert is_time(answer.json["createdAt"])
    assert answer.json["updatedAt"] == answer.json["createdAt"]
    shown = without(answer.json, "id", "createdAt", "updatedAt")
    assert shown == {"type": "discord", "level": level, "value": "123456789", "trafficSourceId": story.source_id}


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_shown_as_it_was_sent(ana, path, value):
    created = ana.post(path, webhook(value=value))
    assert created.status_code == 201, created.text
    assert created.json["value"] == value
    assert ana.get(path).json == [created.json]
    assert ana.put(f"/webhooks/{created.json['id']}", {"value": value}).json["value"] == value


def test_another_value_is_refused_with_what_is_expected(app, ana, story, path):
    id = story.create_webhook("info")
    for value in NO_VALUES:
        for answer in (ana.post(path, webhook(value=value)), ana.put(f"/webhooks/{id}", {"value": value})):
            (message,) = refused(answer, 400)["errors"]["json"]["value"]
            assert "Discord channel ID" in message, value
            assert "Discord webhook URL" in message, value
            assert not value.strip() or value not in answer.text, "a value may hold a secret"
    assert [kept["value"] for kept in ana.get(path).json] == [CHANNEL]


@pytest.mark.parametrize("field", ["type", "level", "value"])
def test_a_missing_or_mistyped_field_is_refused_by_its_name(app, ana, path, field):
    assert wrong_fields(ana.post(path, without(webhook(), field))) == {field}
    for value in (None, 5, True, ["fatal"], {"a": 1}, "", "Discord", "FATAL", "slack", "nul\x00"):
        assert wrong_fields(ana.post(path, webhook(**{field: value}))) == {field}, value
    assert count(app, Webhook) == 0


def test_another_level_is_refused_with_the_ones_there_are(ana, path):
    for level in ("critical", "error", "Fatal", "fatal ", "fatal,info"):
        body = refused(ana.post(path, webhook(level=level)), 400)
        assert body["errors"] == {"json": {"level": ["Must be one of: fatal, warning, info."]}}
        assert "level" in body["message"]


def test_an_unknown_field_is_refused_by_its_name(ana, path):
    for field in ("id", "state", "trafficSourceId", "createdAt", "Level", "__proto__"):
        assert wrong_fields(ana.post(path, webhook(**{field: "1"}))) == {field}


def test_every_wrong_field_is_named_at_once(ana, path):
    answer = ana.post(path, {"level": "high", "value": "x", "color": "red"})
    assert wrong_fields(answer) == {"type", "level", "value", "color"}


def test_without_a_token_the_reason_is_the_missing_token(client, path):
    assert refused(client.post(path, webhook()), 400)["message"] == "Missing authentication token."


def test_an_invalid_token_is_unauthorized(app, path):
    refused(Client(app, "no-token").post(path, webhook()), 401)


def test_somebody_elses_traffic_source_is_forbidden(app, bob, path):
    assert "permission" in refused(bob.post(path, webhook()), 403)["message"]
    assert count(app, Webhook) == 0


def test_an_unknown_traffic_source_is_not_found(ana):
    for id in (UNKNOWN_ID, "unknown", "0", "'; --", "%F0%9F%92%A9", "c1d2e3f4-g5h6-7890-1234-567890abcdef"):
        body = refused(ana.post(f"/webhooks/{id}", webhook()), 404)
        assert body["message"] == "The specified traffic source was not found."


def test_a_second_webhook_of_a_level_is_a_conflict(app, ana, story, path):
    story.create_webhook("fatal")
    assert refused(ana.post(path, webhook()), 409)["message"] == TAKEN
    assert refused(ana.post(path, webhook(value=WEBHOOK_URL)), 409)["message"] == TAKEN
    assert ana.post(path, webhook(level="info")).status_code == 201
    other = ana.create_source("other.example.com")
    assert ana.post(f"/webhooks/{other}", webhook()).status_code == 201
    assert count(app, Webhook) == 3


def test_an_unexpected_error_is_500_and_says_nothing_of_itself(ana, path, monkeypatch):
    def fail(*args):
        raise RuntimeError(", ".join(["canary", "detail"]))

    monkeypatch.setattr("app.repositories.webhooks.add_and_commit", fail)
    assert "canary" not in str(refused(ana.post(path, webhook()), 500))


NOBODY, FORGED, OWNER, STRANGER = "nobody", "forged", "owner", "stranger"
BAD = {"level": "high"}


@pytest.mark.parametrize(
    ("who", "body", "source", "code"),
    [
        (NOBODY, BAD, UNKNOWN_ID, 400),
        (NOBODY, "no json", UNKNOWN_ID, 400),
        (FORGED, BAD, UNKNOWN_ID, 401),
        (FORGED, "no json", None, 401),
        (OWNER, BAD, UNKNOWN_ID, 400),
        (STRANGER, BAD, None, 400),
        (OWNER, "no json", UNKNOWN_ID, 400),
        (OWNER, webhook(), UNKNOWN_ID, 404),
        (STRANGER, webhook(), UNKNOWN_ID, 404),
        (STRANGER, webhook(), None, 403),
        (OWNER, webhook(), None, 409),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_of_several_faults_the_first_in_order_is_told(client, ana, bob, story, method, who, body, source, code):
    """Token, body, existence, permission, conflict. The level is taken in every case."""
    taken, id = story.create_webhook("fatal"), story.create_webhook("info")
    callers = {NOBODY: client, FORGED: Client(client.app, f"{ana.token}x"), OWNER: ana, STRANGER: bob}
    options = {"data": body, "content_type": "application/json"} if isinstance(body, str) else {"json": body}
    target = source or (story.source_id if method == "POST" else id)
    answer = callers[who].request(method, f"/webhooks/{target}", **options)
    message = refused(answer, code)["message"]
    assert (message == "Missing authentication token.") == (who == NOBODY)
    assert [hook["id"] for hook in ana.get(f"/webhooks/{story.source_id}").json] == [taken, id]


def test_of_thirty_equal_requests_at_once_one_creates_and_the_others_conflict(app, ana, path):
    answers = at_once(*[partial(ana.post, path, webhook())] * 30)
    assert codes(answers) == [201] + [409] * 29
    assert count(app, Webhook) == 1


def test_of_different_values_for_one_level_at_once_one_is_kept(ana, path):
    values = [str(number) for number in range(100, 115)]
    answers = at_once(*[partial(ana.post, path, webhook(value=value)) for value in values])
    assert codes(answers) == [201] + [409] * 14
    (created,) = [answer.json for answer in answers if answer.status_code == 201]
    assert ana.get(path).json == [created]


def test_of_webhooks_moved_to_one_level_at_once_one_gets_there(ana, story, path):
    first, second = story.create_webhook("warning"), story.create_webhook("info")
    move = webhook(level="fatal")
    calls = [partial(ana.put, f"/webhooks/{id}", move) for id in [first, second] * 6]
    answers = at_once(*calls)
    by_webhook = [{answer.status_code for answer in answers[start::2]} for start in (0, 1)]
    assert sorted(by_webhook, key=max) == [{200}, {409}]
    assert [hook["level"] for hook in ana.get(path).json].count("fatal") == 1


def test_a_level_is_created_and_moved_to_at_once_by_one_alone(ana, story, path):
    id = story.create_webhook("info")
    calls = [partial(ana.post, path, webhook()), partial(ana.put, f"/webhooks/{id}", webhook())]
    answers = at_once(*calls * 4)
    created, moved = answers[::2], answers[1::2]
    assert codes(created) in ([201, 409, 409, 409], [409] * 4)
    assert codes(moved) == ([409] * 4 if 201 in codes(created) else [200] * 4)


def test_webhooks_that_swap_levels_at_once_are_refused_without_an_error(ana, story, path):
    fatal, info = story.create_webhook("fatal"), story.create_webhook("info")
    moves = [
        partial(ana.put, f"/webhooks/{fatal}", webhook(level="info")),
        partial(ana.put, f"/webhooks/{info}", webhook(level="fatal")),
    ]
    for _ in range(12):
        assert codes(at_once(*moves * 3)) == [409] * 6
    assert [hook["id"] for hook in ana.get(path).json] == [fatal, info]


def test_changes_of_one_sources_webhooks_take_turns(ana, story, monkeypatch):
    """Two that swap their levels could else each hold what the other waits for."""
    hooks = [story.create_webhook(level) for level in ("fatal", "warning", "info")]
    change, inside, seen = webhooks.change_columns, [], []

    def slowly(hook, values):
        change(hook, values)
        inside.append(hook.id)
        seen.append(set(inside))
        time.sleep(0.1)
        inside.remove(hook.id)

    monkeypatch.setattr(webhooks, "change_columns", slowly)
    moves = [partial(ana.put, f"/webhooks/{hook}", {"value": str(number)}) for number, hook in enumerate(hooks, 1)]
    assert codes(at_once(*moves)) == [200] * 3
    assert {len(together) for together in seen} == {1}


def test_the_webhooks_of_a_source_are_a_plain_array_most_severe_first(ana, story, path):
    assert ana.get(path).json == []
    created = {level: story.create_webhook(level) for level in ("info", "fatal", "warning")}
    listed = ana.get(path)
    assert listed.status_code == 200
    assert [(hook["level"], hook["id"]) for hook in listed.json] == [
        (level, created[level]) for level in ("fatal", "warning", "info")
    ]
    assert [set(hook) for hook in listed.json] == [FIELDS] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"value": "42"},
        {"value": WEBHOOK_URL},
        {"value": "42", "level": "info"},
        {"value": "42", "level": "fatal", "type": "discord"},
        {"value": CHANNEL},
    ],
)
def test_a_webhook_changes_what_is_sent_and_keeps_the_rest(ana, path, changes):
    before = ana.post(path, webhook()).json
    answer = ana.put(f"/webhooks/{before['id']}", changes)
    assert answer.status_code == 200
    assert set(answer.json) == FIELDS
    assert without(answer.json, "updatedAt") == without(before, "updatedAt") | changes
    assert ana.get(path).json == [answer.json]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "value"),
        ({"level": "info"}, "value"),
        ({"value": None}, "value"),
        ({"value": "42", "level": "high"}, "level"),
        ({"value": "42", "level": None}, "level"),
        ({"value": "42", "type": "slack"}, "type"),
        ({"value": "42", "id": UNKNOWN_ID}, "id"),
        ({"value": "42", "trafficSourceId": UNKNOWN_ID}, "trafficSourceId"),
    ],
)
def test_a_bad_change_is_refused_by_its_field(ana, path, changes, field):
    before = ana.post(path, webhook()).json
    assert wrong_fields(ana.put(f"/webhooks/{before['id']}", changes)) == {field}
    assert ana.get(path).json == [before]


def test_a_change_to_a_taken_level_is_a_conflict(ana, story, path):
    story.create_webhook("fatal")
    id = story.create_webhook("info")
    before = ana.get(path).json
    assert refused(ana.put(f"/webhooks/{id}", webhook(value="42")), 409)["message"] == TAKEN
    assert ana.get(path).json == before


def test_a_deleted_webhook_is_gone_and_its_level_free(ana, story, path):
    id = story.create_webhook("fatal")
    answer = ana.delete(f"/webhooks/{id}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert ana.get(path).json == []
    refused(ana.delete(f"/webhooks/{id}"), 404)
    refused(ana.put(f"/webhooks/{id}", {"value": "42"}), 404)
    assert ana.post(path, webhook()).status_code == 201


def test_of_deletions_at_once_one_finds_the_webhook(ana, story):
    id = story.create_webhook()
    assert codes(at_once(*[partial(ana.delete, f"/webhooks/{id}")] * 8)) == [204] + [404] * 7


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/webhooks/{0}", {"value": "42"}),
        ("POST", "/webhooks/{0}/mute", {"until": in_days(1)}),
        ("DELETE", "/webhooks/{0}/mute", None),
        ("POST", "/deliveries/{1}/redeliver", None),
        ("GET", "/webhooks/{0}/status", None),
        ("GET", "/webhooks/{0}/deliveries", None),
    ],
)
def test_a_webhook_deleted_meanwhile_is_served_or_not_found(ana, story, method, path, body):
    for _ in range(2):
        id = story.create_webhook()
        story.report()
        delivery_id = ana.get(f"/webhooks/{id}/deliveries").json["data"][0]["id"]
        call = partial(ana.request, method, path.format(id, delivery_id), json=body)
        *answers, deleted = at_once(*[call] * 5, partial(ana.delete, f"/webhooks/{id}"))
        assert deleted.status_code == 204
        assert set(codes(answers)) <= {200, 202, 204, 404}


@pytest.mark.parametrize(("method", "body"), [("PUT", {"value": "42"}), ("DELETE", None)])
def test_somebody_elses_webhook_is_forbidden_and_an_unknown_one_not_found(ana, bob, story, path, method, body):
    id = story.create_webhook()
    refused(bob.request(method, f"/webhooks/{id}", json=body), 403)
    for unknown in (UNKNOWN_ID, "unknown", id.upper(), story.source_id, f"{id}%00", "%27"):
        refused(ana.request(method, f"/webhooks/{unknown}", json=body), 404)
    assert [hook["value"] for hook in ana.get(path).json] == [CHANNEL]


def test_the_webhooks_of_somebody_elses_source_are_not_listed(bob, path):
    refused(bob.get(path), 403)
    refused(bob.get(f"/webhooks/{UNKNOWN_ID}"), 404)


def test_no_webhook_is_created_on_a_source_that_is_deleted_meanwhile(app, ana, story, monkeypatch):
    """The source was there when the body began to come."""
    add = webhooks.add_and_commit

    def deleted_meanwhile(*arguments):
        assert ana.delete(f"/traffic-sources/{story.source_id}").status_code == 204
        return add(*arguments)

    monkeypatch.setattr(webhooks, "add_and_commit", deleted_meanwhile)
    refused(ana.post(f"/webhooks/{story.source_id}", webhook()), 404)
    assert count(app, Webhook) == 0
