"""The console: the policy of a webhook as sentences, the form that changes it, and its preview."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.helpers import refused
from tests.integration.pages import Elements, Person, errors_of, note_of
from tests.integration.test_console_sources import CANARY, texts
from tests.integration.test_policies import EMPTY
from tools.story import record

FIELDS = {
    "ignore.0.method": "get",
    "ignore.0.pathname": "/health*",
    "ignore.0.status": "",
    "ignore.1.method": "",
    "ignore.1.pathname": "*.php",
    "ignore.1.status": "404",
    "threshold.events": "10",
    "threshold.seconds": "60",
    "mention.roleId": "123",
    "remindAfterMinutes": "30",
}
POLICY = {
    "ignore": [{"method": "get", "pathname": "/health*"}, {"pathname": "*.php", "status": "404"}],
    "threshold": {"events": 10, "seconds": 60},
    "mention": {"roleId": "123"},
    "remindAfterSeconds": 1800,
}


@pytest.fixture
def webhook_id(story):
    return story.create_webhook()


@pytest.fixture
def path(webhook_id):
    return f"/console/webhooks/{webhook_id}/policy"


@pytest.fixture
def policy(ana, webhook_id):
    return lambda: ana.get(f"/webhooks/{webhook_id}/policy").json


def typed(page):
    """The fields of the form on the page, as a browser sends them."""
    form = page.text.partition('<form id="policy"')[2].partition("</form>")[0]
    page = type("Page", (), {"text": form})
    fields = {each["name"]: each.get("value") or "" for each in Elements(page).of("input")}
    for name, options in re.findall(r'<select id="[^"]+" name="([^"]+)".*?>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        fields[name] = chosen[1] if chosen else ""
    fields.pop("csrf_token")
    return fields


def filled(page):
    return {name: text for name, text in typed(page).items() if text}


def rows(page):
    return page.text.count('<div class="rule"')


def test_a_policy_is_typed_saved_and_read_as_sentences(person, story, path, policy):
    page = person.get(f"/console/sources/{story.source_id}/webhooks")
    assert "Tells every event. So far 0 events ignored, 0 held back. Change policy" in texts(page)
    page = person.submit(path, **FIELDS)
    assert page.request.path == f"/console/sources/{story.source_id}/webhooks"
    assert note_of(page) == "The policy of the fatal webhook is saved."
    assert policy() == POLICY
    told = "Ignores GET /health* and 404 of *.php . Tells only when 10 come within 60 seconds. Pings role 123 ."
    assert f"{told} Reminds every 30 minutes." in texts(page)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"ignore": [{"status": "4xx"}]}, "Ignores 4xx . Tells every other event. So far"),
        ({"ignore": [{"method": "head"}]}, "Ignores HEAD . Tells every other event. So far"),
        (
            {"ignore": [{"method": "put", "status": "500-502"}, {"pathname": "/a"}, {"status": "404"}]},
            "Ignores 500-502 of PUT , /a and 404 . Tells",
        ),
        (
            {"ignore": [{"method": "put", "pathname": "/a", "status": "500"}]},
            "Ignores 500 of PUT /a . Tells every other event. So far",
        ),
        ({"threshold": {"events": 1, "seconds": 1}}, "Policy Tells only when 1 comes within 1 second. So far"),
        ({"mention": {"roleId": "7"}}, "Policy Tells every event. Pings role 7 . So far"),
        ({"remindAfterSeconds": 60}, "Policy Tells every event. Reminds every minute. So far"),
        ({"remindAfterSeconds": 90}, "Policy Tells every event. Reminds every 90 seconds. So far"),
        ({"remindAfterSeconds": 604_800}, "Policy Tells every event. Reminds every 10,080 minutes. So far"),
    ],
)
def test_every_policy_can_be_read(ana, person, story, webhook_id, policy, told):
    assert ana.put(f"/webhooks/{webhook_id}/policy", policy).status_code == 200
    assert told in texts(person.get(f"/console/sources/{story.source_id}/webhooks"))


@pytest.mark.parametrize(
    "kept",
    [
        POLICY,
        EMPTY,
        EMPTY | {"ignore": [{"method": "propfind", "pathname": "/with space "}], "remindAfterSeconds": 100},
        EMPTY | {"ignore": [{"pathname": f"/{number}"} for number in range(50)], "remindAfterSeconds": 604_799},
    ],
    ids=["usual", "empty", "odd", "as many rules as may be"],
)
def test_a_policy_that_is_saved_as_it_was_shown_stays_the_same(ana, person, webhook_id, path, policy, kept):
    ana.put(f"/webhooks/{webhook_id}/policy", kept)
    page = person.get(path)
    person.submit(path, **typed(page))
    assert policy() == kept
    assert rows(page) == min(len(kept["ignore"]) + 3, 50)
    assert ("Add a row" in page.text) == (len(kept["ignore"]) < 47)


def test_empty_rows_are_left_out_wherever_they_are(person, path, policy):
    blank = {f"ignore.{row}.{name}": " " for row in (0, 2) for name in ("method", "pathname", "status")}
    person.submit(path, **blank, **{"ignore.1.status": " 404 ", "ignore.10.status": "5xx", "ignore.3.pathname": "/c"})
    assert policy()["ignore"] == [{"status": "404"}, {"pathname": "/c"}, {"status": "5xx"}]


@pytest.mark.parametrize(
    ("typed_wrong", "body", "nested"),
    [
        ({"ignore.1.pathname": "*a*b*c*d*e*f*"}, {"ignore": [{"pathname": "*a*b*c*d*e*f*"}]}, ("ignore", "0")),
        ({"ignore.1.pathname": "/" + "x" * 200}, {"ignore": [{"pathname": "/" + "x" * 200}]}, ("ignore", "0")),
        ({"ignore.1.status": "4x4"}, {"ignore": [{"status": "4x4"}]}, ("ignore", "0")),
        ({"ignore.1.status": "500-400"}, {"ignore": [{"status": "500-400"}]}, ("ignore", "0")),
        ({"ignore.1.method": "get it"}, {"ignore": [{"method": "get it"}]}, ("ignore", "0")),
        ({"threshold.events": "10"}, {"threshold": {"events": 10}}, ("threshold",)),
        ({"threshold.seconds": "10"}, {"threshold": {"seconds": 10}}, ("threshold",)),
        (
            {"threshold.events": "101", "threshold.seconds": "3601"},
            {"threshold": {"events": 101, "seconds": 3601}},
            ("threshold",),
        ),
        (
            {"threshold.events": "many", "threshold.seconds": "1.5"},
            {"threshold": {"events": "many", "seconds": "1.5"}},
            ("threshold",),
        ),
        ({"mention.roleId": "@everyone"}, {"mention": {"roleId": "@everyone"}}, ("mention",)),
    ],
)
@pytest.mark.parametrize("button", ["", "/preview"])
def test_what_the_api_refuses_is_refused_in_its_words_beside_its_field_and_kept(
    ana, person, webhook_id, path, policy, button, typed_wrong, body, nested
):
    wrong = refused(ana.put(f"/webhooks/{webhook_id}/policy", body), 400)["errors"]["json"]
    for name in nested:
        wrong = wrong[name]
    # The empty row before it is left out, so what is wrong is in the first one.
    where = "ignore.0" if nested[0] == "ignore" else nested[0]
    page = person.post(path + button, **{"ignore.0.method": ""}, **typed_wrong)
    assert page.status_code == 400
    assert errors_of(page) == {f"{where}.{name}": " ".join(told) for name, told in wrong.items()}
    assert filled(page) == {name.replace("ignore.1", "ignore.0"): text for name, text in typed_wrong.items()}
    assert "Put right what is marked below." in page.text
    assert policy() == EMPTY


@pytest.mark.parametrize(
    ("glob", "told"),
    [
        ("health*", "Matches no path: must begin with / or *."),
        (" /health", "Matches no path: must begin with / or *."),
        ("https://api.payments.com/health", "Matches no path: must begin with / or *."),
        ("/health?deep=*", "Matches no path: a path ends before ? and #. Use * for any text."),
        ("/docs#*", "Matches no path: a path ends before ? and #. Use * for any text."),
    ],
)
@pytest.mark.parametrize("button", ["", "/preview"])
def test_a_glob_that_can_match_no_path_is_refused_beside_its_field_and_kept(person, path, policy, glob, told, button):
    page = person.post(path + button, **{"ignore.0.status": "404", "ignore.1.pathname": glob})
    assert page.status_code == 400
    assert errors_of(page) == {"ignore.1.pathname": told}
    assert filled(page) == {"ignore.0.status": "404", "ignore.1.pathname": glob}
    assert policy() == EMPTY


@pytest.mark.parametrize(
    ("minutes", "seconds"),
    [("0.5", 30), ("-1", -60), ("10081", 604_860), ("1e3", "1e3"), ("nan", "nan"), ("9" * 400, "9" * 400)],
)
def test_a_reminder_that_is_too_soon_or_too_late_is_refused_beside_its_minutes(
    ana, person, webhook_id, path, minutes, seconds
):
    answer = ana.put(f"/webhooks/{webhook_id}/policy", {"remindAfterSeconds": seconds})
    (told,) = refused(answer, 400)["errors"]["json"]["remindAfterSeconds"]
    page = person.post(path, remindAfterMinutes=minutes)
    assert errors_of(page) == {"remindAfterMinutes": told}
    assert filled(page) == {"remindAfterMinutes": minutes}


def test_a_51st_rule_is_refused(ana, person, webhook_id, path, policy):
    answer = ana.put(f"/webhooks/{webhook_id}/policy", {"ignore": [{"status": "404"}] * 51})
    (told,) = refused(answer, 400)["errors"]["json"]["ignore"]
    many = {f"ignore.{row}.status": "404" for row in range(51)}
    page = person.post(path, **many)
    assert errors_of(page) == {"ignore": told}
    assert filled(page) == many
    assert policy() == EMPTY


def test_a_row_more_keeps_all_that_was_typed_and_saves_nothing(person, path, policy):
    first = person.get(path)
    page = person.post(f"{path}/rows", **typed(first) | FIELDS | {"threshold.events": "wrong"})
    assert page.status_code == 200
    assert rows(page) == rows(first) + 1
    assert filled(page) == {name: text for name, text in FIELDS.items() if text} | {"threshold.events": "wrong"}
    again = person.post(f"{path}/rows", **typed(page))
    assert rows(again) == rows(first) + 2
    assert filled(again) == filled(page)
    assert errors_of(page) == {}
    assert policy() == EMPTY


def test_hostile_text_is_shown_as_text(ana, person, story, webhook_id, path):
    ana.put(f"/webhooks/{webhook_id}/policy", {"ignore": [{"pathname": f"{CANARY}\N{RIGHT-TO-LEFT OVERRIDE}"}]})
    page = person.get(f"/console/sources/{story.source_id}/webhooks")
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page.text
    pages = [page, person.get(path), person.post(f"{path}/rows", **dict.fromkeys(FIELDS, CANARY))]
    pages.append(person.post(path, **dict.fromkeys(FIELDS, CANARY)))
    for page in pages:
        assert "<script>alert" not in page.text
        assert not Elements(page).of("img")[1:]


def test_a_preview_tells_how_many_messages_there_would_have_been_and_saves_nothing(person, story, path, policy):
    at = datetime.now(UTC) - timedelta(hours=2)
    times = [at + timedelta(seconds=second) for second in (0, 1, 2, 60, 120, 121, 122, 123, 1_000)]
    paths = ["/health"] * 3 + ["/a", "/b", "/b", "/b", "/b", "/c"]
    story.report_batch(
        *(
            record(status=500, pathnameUrl=path, occurredAt=each.isoformat())
            for each, path in zip(times, paths, strict=True)
        ),
        record(status=404, pathnameUrl="/b"),
    )
    fields = {"ignore.5.pathname": "/health*", "threshold.events": "3", "threshold.seconds": "5"}
    page = person.post(f"{path}/preview", **fields)
    # Without a policy: /health, its window, /a, the first /b, its window, /c. With it: the third /b, its window.
    told = "Would have sent 2 messages instead of 6; 3 of 9 events ignored, 2 held back."
    assert page.status_code == 200
    assert note_of(page) == told
    assert filled(page) == {name.replace(".5.", ".0."): text for name, text in fields.items()}
    fragment = person.client.post(
        f"{path}/preview", data={"csrf_token": person.token(), **fields}, headers={"HX-Request": "true"}
    )
    assert fragment.text.strip() == f'<p class="note good">{told}</p>'
    page = person.post(f"{path}/preview", **{"ignore.0.status": "500"})
    assert note_of(page) == "Would have sent 0 messages instead of 6; 9 of 9 events ignored, 0 held back."
    assert policy() == EMPTY


def test_a_preview_of_one_event_and_of_none_says_so(person, story, path):
    page = person.post(f"{path}/preview", **FIELDS)
    assert note_of(page) == "No fatal event came in the last day, so there is nothing to preview."
    story.report()
    page = person.post(f"{path}/preview")
    assert note_of(page) == "Would have sent 1 message instead of 1; 0 of 1 event ignored, 0 held back."


def test_a_preview_takes_the_services_times(person, story, path, app, monkeypatch):
    monkeypatch.setitem(app.config, "DIGEST_WINDOW_SECONDS", 0.0)
    monkeypatch.setitem(app.config, "RECOVERY_AFTER_SECONDS", 0)
    at = datetime.now(UTC) - timedelta(hours=2)
    seconds = (0, 1, 2, 299, 700, 701)
    story.report_batch(*(record(occurredAt=(at + timedelta(seconds=second)).isoformat()) for second in seconds))
    page = person.post(f"{path}/preview", **{"threshold.events": "2", "threshold.seconds": "9"})
    # Every event is a message; after more than five minutes the threshold counts anew.
    assert note_of(page) == "Would have sent 4 messages instead of 6; 0 of 6 events ignored, 0 held back."


def test_a_preview_that_refreshes_itself_says_that_something_is_to_be_put_right(person, path):
    answer = person.client.post(
        f"{path}/preview",
        data={"csrf_token": person.token(), "mention.roleId": "x"},
        headers={"HX-Request": "true"},
    )
    assert answer.status_code == 200
    assert note_of(answer) == "There is no preview until what is typed is put right."


def test_what_a_policy_left_out_is_counted_on_the_page(person, story, path):
    person.submit(path, **{"ignore.0.pathname": "/health"})
    story.report(pathnameUrl="/health")
    story.report(pathnameUrl="/health")
    story.report(pathnameUrl="/orders")
    page = person.get(f"/console/sources/{story.source_id}/webhooks")
    assert "So far 2 events ignored, 0 held back." in texts(page)


@pytest.mark.parametrize("button", ["", "/rows", "/preview"])
def test_a_page_without_the_sessions_token_keeps_what_was_typed_and_changes_nothing(person, path, policy, button):
    page = person.post(path + button, "forged", **FIELDS)
    assert page.status_code == 400
    assert "This page was open for too long. Try again." in page.text
    assert filled(page) == {name: text for name, text in FIELDS.items() if text}
    assert policy() == EMPTY


def test_a_reader_reads_the_sentences_and_an_editor_changes_them(app, ana, bob, person, story, path, policy):
    guest = Person(app)
    guest.sign_in("bob@example.com")
    person.submit(path, **FIELDS)
    share = {"trafficSourceId": story.source_id, "userEmail": "bob@example.com", "permission": "readOnly"}
    webhooks_path = f"/console/sources/{story.source_id}/webhooks"
    for permission, is_editor in (("readOnly", False), ("editor", True)):
        share_id = ana.post("/shared-traffic-sources", share | {"permission": permission}).json["id"]
        bob.post(f"/shared-traffic-sources/{share_id}/accept")
        assert "Tells only when 10 come within 60 seconds." in texts(guest.get(webhooks_path))
        assert ("Change policy" in guest.page.text) == is_editor
        assert guest.get(path).status_code == (200 if is_editor else 403)
        assert guest.post(f"{path}/preview", **FIELDS).status_code == (200 if is_editor else 403)
        assert guest.post(path, remindAfterMinutes="1").status_code == (302 if is_editor else 403)
        assert policy() == (EMPTY | {"remindAfterSeconds": 60} if is_editor else POLICY)
        ana.delete(f"/shared-traffic-sources/{share_id}")
    assert guest.post(path).status_code == 403
