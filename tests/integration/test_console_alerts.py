"""The console: the alerts of a source as sentences, the forms that change them, and where those that fire are seen."""

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from app.models import Alert, Webhook
from app.repositories.alerts import MAX_ALERTS_PER_SOURCE
from tests.integration.helpers import refused, write
from tests.integration.pages import Elements, Person, alert_of, errors_of, note_of
from tests.integration.test_console_policies import typed as typed_in
from tests.integration.test_console_sources import CANARY, texts
from tests.integration.test_source_alerts import P95, RATE, SILENCE, alerts_of

FIELDS = {"kind": "errorRate", "threshold": "2.5", "minutes": "10", "minRequests": "20", "webhookLevel": "fatal"}
BODY = {"kind": "errorRate", "threshold": 2.5, "minutes": 10, "minRequests": 20, "webhookLevel": "fatal"}
TOLD = "When 2.5 % or more of at least 20 requests within 10 minutes fail, tell the fatal webhook."


@pytest.fixture
def path(story):
    return f"/console/sources/{story.source_id}/alerts"


@pytest.fixture
def create(story):
    return lambda body=BODY, **fields: story.create_alert({**body, **fields})


@pytest.fixture
def bodies(story):
    """The conditions of the source's alerts, as the API shows them."""
    return lambda: [{name: alert[name] for name in BODY} for alert in alerts_of(story.client, story.source_id)]


@pytest.fixture
def fire(app):
    """Let an alert fire, as a dispatcher does."""
    at = datetime.now(UTC).replace(hour=3, minute=4)
    return lambda alert_id: write(app, update(Alert).where(Alert.id == alert_id).values(state="firing", since=at))


def typed(page):
    """The fields of the alert's form, as a browser sends them."""
    start = page.text.index('<form class="card form alert"')
    return typed_in(type("Page", (), {"text": page.text[start:].replace("<form ", '<form id="policy" ', 1)}))


def test_an_alert_is_typed_created_and_read_as_a_sentence(person, story, path, bodies):
    story.create_webhook()
    page = person.get(path)
    assert typed(page) == {**FIELDS, "threshold": "", "minutes": "10", "minRequests": "20"}
    page = person.submit(path, **FIELDS | {"threshold": " 2.5 "})
    assert page.request.path == path
    assert note_of(page) == "The alert is there. It is evaluated once a minute."
    assert bodies() == [BODY]
    assert TOLD in texts(page)
    assert "ok since" in texts(page)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (RATE, "When 20 % or more of at least 4 requests within 5 minutes fail, tell the warning webhook."),
        (
            RATE | {"minRequests": 0},
            "When 20 % or more of all requests within 5 minutes fail, tell the warning webhook.",
        ),
        (
            RATE | {"minRequests": 1, "threshold": 0.05, "minutes": 1},
            "When 0.05 % or more of all requests within a minute fail,",
        ),
        (P95, "When p95 is 500.5 ms or more over all requests within 5 minutes, tell the warning webhook."),
        (
            P95 | {"minRequests": 1_000_000, "threshold": 2000},
            "When p95 is 2,000 ms or more over at least 1,000,000 requests within",
        ),
        (SILENCE | {"minutes": 1}, "When no request comes for a minute, tell the warning webhook."),
        (SILENCE | {"minutes": 1440}, "When no request comes for 1,440 minutes, tell the warning webhook."),
    ],
)
def test_every_alert_can_be_read_and_stays_the_same_if_it_is_saved_as_shown(person, path, create, bodies, body, told):
    alert_id = create(body)
    before = bodies()
    assert told in texts(person.get(path))
    page = person.submit(f"/console/alerts/{alert_id}", **typed(person.get(f"/console/alerts/{alert_id}")))
    assert note_of(page) == "The alert is changed."
    assert bodies() == before


def test_an_alert_is_changed_to_another_kind_and_what_has_no_meaning_for_it_is_left_out(person, create, bodies, fire):
    alert_id = create()
    fire(alert_id)
    person.submit(f"/console/alerts/{alert_id}", **FIELDS | {"kind": "silence", "threshold": "x", "minRequests": "y"})
    assert bodies() == [BODY | {"kind": "silence", "threshold": None, "minRequests": None}]
    assert "ok since" in texts(person.page)


def test_an_alert_is_deleted_once_that_is_confirmed(person, path, create, bodies, fire):
    alert_id, other = create(), create(SILENCE)
    fire(alert_id)
    page = person.get(f"/console/alerts/{alert_id}/delete")
    assert TOLD in texts(page)
    assert "no message will say that it is over" in texts(page)
    assert "no message" not in texts(person.get(f"/console/alerts/{other}/delete"))
    assert len(bodies()) == 2
    page = person.submit(f"/console/alerts/{alert_id}/delete")
    assert (page.request.path, note_of(page)) == (path, "The alert is deleted.")
    assert bodies() == [SILENCE]
    assert person.get(f"/console/alerts/{alert_id}").status_code == 404
    assert person.post(f"/console/alerts/{alert_id}/delete").status_code == 404


@pytest.mark.parametrize("is_change", [False, True])
@pytest.mark.parametrize(
    ("wrong", "body"),
    [
        ({"threshold": "0"}, {"threshold": 0}),
        ({"threshold": "100.5"}, {"threshold": 100.5}),
        ({"threshold": "5 %"}, {"threshold": "5 %"}),
        ({"threshold": "nan"}, {"threshold": "nan"}),
        ({"threshold": "1e3"}, {"threshold": "1e3"}),
        ({"threshold": ""}, {"threshold": None}),
        ({"minutes": "0"}, {"minutes": 0}),
        ({"minutes": "1441"}, {"minutes": 1441}),
        ({"minutes": "1.5"}, {"minutes": "1.5"}),
        ({"minutes": ""}, {"minutes": ""}),
        ({"minRequests": "-1"}, {"minRequests": -1}),
        ({"minRequests": ""}, {"minRequests": None}),
        ({"minRequests": "many", "minutes": "9" * 400}, {"minRequests": "many", "minutes": "9" * 400}),
        ({"kind": "rate", "webhookLevel": ""}, {"kind": "rate", "webhookLevel": ""}),
    ],
)
def test_what_the_api_refuses_is_refused_in_its_words_beside_its_field_and_kept(
    person, story, path, create, bodies, wrong, body, is_change
):
    alert_id = create(SILENCE)
    answer = story.client.post(f"/traffic-sources/{story.source_id}/alerts", BODY | body)
    told = {name: " ".join(texts) for name, texts in refused(answer, 400)["errors"]["json"].items()}
    page = person.post(f"/console/alerts/{alert_id}" if is_change else path, **FIELDS | wrong)
    assert page.status_code == 400
    assert errors_of(page) == told
    kept = FIELDS | {name: text for name, text in wrong.items() if name not in ("kind", "webhookLevel")}
    if "kind" in wrong:  # A list of choices holds nothing else.
        kept |= {"kind": "", "webhookLevel": ""}
    assert typed(page) == kept
    assert bodies() == [SILENCE]


def test_a_source_with_as_many_alerts_as_it_may_have_says_so(person, path, create, bodies):
    for _ in range(MAX_ALERTS_PER_SOURCE - 1):
        create()
    old_page = person.get(path)
    create()
    page = person.get(path)
    assert "Create alert" in old_page.text
    assert "Create alert" not in page.text
    assert "A source has 20 alerts at most." in texts(page)
    page = person.post(path, **FIELDS | {"minutes": "7"})
    assert page.status_code == 429
    assert alert_of(page).startswith("This traffic source has 20 alerts, as many as it may have: delete one.")
    assert typed(page) == FIELDS | {"minutes": "7"}
    assert len(bodies()) == MAX_ALERTS_PER_SOURCE


def test_an_alert_that_nobody_is_told_of_says_so(app, person, story, path, create):
    create(webhookLevel="warning")
    told = "There is no warning webhook, so nobody is told. Create one"
    assert told in texts(person.get(path))
    webhook_id = story.create_webhook("warning")
    assert "nobody is told" not in texts(person.get(path))
    suspend(app, webhook_id)
    assert "The warning webhook is suspended, so nobody is told. See why" in texts(person.get(path))


def suspend(app, webhook_id):
    write(app, update(Webhook).where(Webhook.id == webhook_id).values(state="suspended", reason="gone"))


def test_an_alert_that_fires_is_seen_on_its_page_the_overview_and_the_list_of_sources(
    person, story, path, create, fire
):
    first, second = create(), create(SILENCE)
    overview = f"/console/sources/{story.source_id}"
    for page in (path, overview, "/console/sources"):
        seen = texts(person.get(page))
        assert "Firing since" not in seen
        assert "Alert since" not in seen
        assert "alert fires" not in seen
    fire(first)
    assert re.search(r"Firing since .*03:04 UTC", texts(person.get(path)))
    told = r"Alert since .*03:04 UTC : 2.5 % or more of at least 20 requests within 10 minutes fail. Alerts"
    assert re.search(told, texts(person.get(overview)))
    assert "no request comes" not in texts(person.page)
    refreshed = person.get(overview, headers={"HX-Request": "true"})
    assert refreshed.text.count("Alert since") == 1
    assert "1 alert fires" in texts(person.get("/console/sources"))
    fire(second)
    assert "2 alerts fire" in texts(person.get("/console/sources"))


def test_alerts_of_other_sources_are_not_shown(app, bob, create, fire):
    stranger = Person(app)
    stranger.sign_in("bob@example.com")
    other = bob.create_source("bob.example.com", "Source of Bob")
    fire(create())
    assert "alert fires" not in texts(stranger.get("/console/sources"))
    assert "Alert since" not in texts(stranger.get(f"/console/sources/{other}"))


def test_hostile_text_is_shown_as_text(person, path):
    page = person.post(path, **dict.fromkeys(FIELDS, CANARY))
    assert page.status_code == 400
    assert "<script>alert" not in page.text
    assert not Elements(page).of("img")[1:]


def test_a_page_without_the_sessions_token_keeps_what_was_typed_and_changes_nothing(person, path, create, bodies):
    alert_id = create(SILENCE)
    for address in (path, f"/console/alerts/{alert_id}"):
        page = person.post(address, "forged", **FIELDS)
        assert page.status_code == 400
        assert alert_of(page) == "This page was open for too long. Try again."
        assert typed(page) == FIELDS
    assert person.post(f"/console/alerts/{alert_id}/delete", "forged").status_code == 400
    assert bodies() == [SILENCE]


def test_a_reader_reads_the_sentences_and_an_editor_changes_them(app, ana, bob, story, path, create, bodies):
    guest = Person(app)
    guest.sign_in("bob@example.com")
    alert_id = create()
    share = {"trafficSourceId": story.source_id, "userEmail": "bob@example.com"}
    for permission, is_editor in (("readOnly", False), ("editor", True)):
        share_id = ana.post("/shared-traffic-sources", share | {"permission": permission}).json["id"]
        bob.post(f"/shared-traffic-sources/{share_id}/accept")
        page = guest.get(path)
        assert TOLD in texts(page)
        assert ("Create alert" in page.text, "Delete" in page.text, "Change" in page.text) == (is_editor,) * 3
        allowed = 200 if is_editor else 403
        assert guest.get(f"/console/alerts/{alert_id}").status_code == allowed
        assert guest.get(f"/console/alerts/{alert_id}/delete").status_code == allowed
        done = 302 if is_editor else 403
        assert guest.post(path, **FIELDS).status_code == done
        assert guest.post(f"/console/alerts/{alert_id}", **FIELDS | {"minutes": "3"}).status_code == done
        assert bodies() == ([BODY | {"minutes": 3}, BODY] if is_editor else [BODY])
        assert guest.post(f"/console/alerts/{alert_id}/delete").status_code == done
        ana.delete(f"/shared-traffic-sources/{share_id}")
    assert bodies() == [BODY]
    assert guest.post(path, **FIELDS).status_code == 403
    assert guest.get(path).status_code == 403
