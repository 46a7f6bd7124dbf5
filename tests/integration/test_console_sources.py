"""The console: sources, the overview, the traffic, and connecting an application."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import quote

import pytest

from app.console import snippets
from app.repositories import traffic_pages
from tests.integration.helpers import refused
from tests.integration.pages import Elements, Person, alert_of, errors_of, note_of
from tools.processes import ROOT
from tools.story import Client, Story, record

CANARY = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


def path_of(story, page=""):
    return f"/console/sources/{story.source_id}{page}"


def texts(page):
    """What a reader sees, without markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text.partition("<main")[2]))


def test_who_has_no_source_is_told_what_to_do_and_led_on_to_webhooks_and_tokens(ana, person):
    assert "Which application should be watched?" in person.get("/console/sources").text
    page = person.submit("/console/sources", name="Shop", trafficDomain="shop.example.com")
    (source,) = ana.get("/traffic-sources").json["data"]
    assert page.request.path == f"/console/sources/{source['id']}/webhooks"
    assert "Where shall failures be told?" in page.text
    assert "Copy Webhook URL" in page.text
    assert "Copy Channel ID" in page.text
    page = person.submit(page.request.path, level="fatal", value="123456789")
    assert "Next: connect the application" in page.text


@pytest.mark.parametrize(
    ("field", "value"), [("trafficDomain", "not a domain"), ("trafficDomain", ""), ("name", ""), ("name", "x" * 101)]
)
def test_a_source_that_the_api_refuses_is_refused_in_its_words(ana, person, field, value):
    typed = {"name": "Shop", "trafficDomain": "shop.example.com", field: value}
    told = refused(ana.post("/traffic-sources", typed), 400)["errors"]["json"]
    page = person.post("/console/sources", **typed)
    assert page.status_code == 400
    assert errors_of(page) == {field: " ".join(told[field])}


def test_a_domain_that_one_has_already_is_refused_beside_its_field(story, person):
    page = person.post("/console/sources", name="Again", trafficDomain="api.payments.com")
    assert page.status_code == 409
    assert errors_of(page) == {"trafficDomain": "You already have a traffic source for this domain."}


def test_too_many_sources_are_refused_above_the_form(make_app, ana, story):
    person = Person(make_app(MAX_SOURCES_PER_USER="1"))
    person.sign_in()
    page = person.post("/console/sources", name="Another", trafficDomain="another.example.com")
    assert page.status_code == 429
    assert alert_of(page).startswith("You have 1 traffic sources, as many as one user may have here: delete one.")
    assert len(ana.get("/traffic-sources").json["data"]) == 1


def test_the_list_tells_what_is_wrong_with_each_source(ana, person, story, dispatch):
    other = Story(ana, name="Quiet", domain="quiet.example.com")
    story.create_webhook()
    story.report()
    dispatch()
    assert other.source_id in person.get("/console/sources").text
    assert "Fatal One request failed, at" in texts(person.page)
    assert "Add a webhook" in person.page.text
    assert "No request yet" in person.page.text


def test_the_list_and_the_overview_agree_on_each_source_without_a_webhook(ana, person):
    minutes = {"failing": [0, 2, 40], "over": [30, 31, 50], "alone": [7], "well": []}
    stories = {name: Story(ana, name=name, domain=f"{name}.example.com") for name in minutes}
    for name, story in stories.items():
        story.report_batch(
            record(status=404), *(record(status=500, occurredAt=minutes_ago(minute)) for minute in minutes[name])
        )
    listed = dict(
        re.findall(r'<h2><a href="([^"]+)".*?class="states">(.*?)</li>', person.get("/console/sources").text, re.S)
    )
    for name, says in {
        "failing": "Failing since",
        "over": "It is over",
        "alone": "One request failed",
        "well": "No request failed",
    }.items():
        overview = re.search('class="verdict.*?</section>', person.get(path_of(stories[name])).text, re.DOTALL)[0]
        states = listed[path_of(stories[name])]
        assert says in states
        assert says in overview
        times = re.findall('datetime="([^"]+)" data-style="near"', states)
        assert times == list(dict.fromkeys(re.findall('datetime="([^"]+)" data-style="near"', overview)))[: len(times)]
        assert len(times) == {"failing": 1, "over": 2, "alone": 1, "well": 0}[name]


def test_the_list_judges_all_sources_in_one_statement(ana, person, statements):
    for number in range(3):
        story = Story(ana, domain=f"s{number}.example.com")
        story.report_batch(record(status=500), record(status=500))
    statements.clear()
    assert person.get("/console/sources").text.count("Failing since") == 3
    reads = [sql for sql, _ in statements if "series_points" in sql]
    assert len(reads) == 1


def test_many_sources_are_found_by_a_part_of_their_name_and_turned_by_page(ana, person):
    for number in range(60):
        ana.create_source(f"s{number}.example.com", f"Source {number:02}")
    first = person.get("/console/sources")
    assert "Page 1 of 2" in texts(first)
    assert "Source 59" not in first.text
    assert "Source 59" in person.get("/console/sources?page=2").text
    found = person.get("/console/sources?name=e+59")
    assert "Source 59" in found.text
    assert "Source 58" not in found.text


def test_a_source_is_renamed_and_deleted_after_it_was_said_what_goes_with_it(ana, person, story):
    person.submit(path_of(story, "/settings"), name="Renamed", trafficDomain="renamed.example.com")
    assert "Renamed" in person.page.text
    page = person.get(path_of(story, "/delete"))
    assert "Its webhooks, alerts, tokens, records and charts go with it" in page.text
    page = person.submit(path_of(story, "/delete"))
    assert note_of(page) == "Renamed is deleted, with all that belonged to it."
    refused(ana.get(f"/traffic-sources/{story.source_id}"), 404)


def minutes_ago(minutes):
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def test_the_overview_says_that_requests_fail_since_when_and_how_badly(person, story):
    story.report_batch(
        *(record(status=200, occurredAt=minutes_ago(30)) for _ in range(6)),
        *(record(status=200, occurredAt=minutes_ago(0)) for _ in range(2)),
        *(record(status=503, occurredAt=minutes_ago(2), elapsedTime=4000, pathnameUrl=f"/pay/{n}") for n in range(2)),
    )
    seen = texts(person.get(path_of(story)))
    assert "Failing since" in seen
    assert re.search("2 of [24] requests of this incident failed", seen)
    assert "Requests 10 " in seen
    assert "Error rate 20.0 %" in seen
    assert "POST" not in seen
    assert "/pay/{id}" in seen
    assert "4.0 s" in seen


def test_the_overview_says_that_an_incident_is_over(person, story):
    story.report_batch(*(record(status=500, occurredAt=minutes_ago(20)) for _ in range(3)))
    seen = texts(person.get(path_of(story)))
    assert "It is over" in seen
    assert "3 of 3 requests of this incident failed (100.0 %)" in seen


@pytest.mark.parametrize("ended", [0, 20])
def test_every_time_shown_has_the_same_verdict(person, story, ended):
    story.report_batch(*(record(status=500, occurredAt=minutes_ago(ended + number)) for number in range(12)))
    story.report(status=500, occurredAt=minutes_ago(200))
    verdicts = {
        re.search('class="verdict.*?</section>', person.get(path_of(story, f"?hours={hours}")).text, re.DOTALL)[0]
        for hours in (1, 6, 24, 168)
    }
    (verdict,) = verdicts
    assert "12 of 12 requests of this incident failed" in verdict
    assert ("It is over" in verdict) == bool(ended)


def test_an_incident_longer_than_what_is_looked_at_says_so(person, story):
    for first in range(0, 1440, 100):
        story.report_batch(*(record(status=500, occurredAt=minutes_ago(first + number)) for number in range(0, 100, 4)))
    seen = texts(person.get(path_of(story)))
    assert re.search(r"Failing since before \d+ \w+, \d\d:\d\d UTC \(longer ago than is looked at\)", seen)


def test_the_overview_names_what_broke_in_the_incident_and_no_other(person, story):
    story.report_batch(
        *(record(status=500, pathnameUrl="/old", occurredAt=minutes_ago(50)) for _ in range(9)),
        *(record(status=503, pathnameUrl=f"/orders/{number}", occurredAt=minutes_ago(1)) for number in range(3)),
        *(record(status=500, pathnameUrl=f"/orders/{number}", occurredAt=minutes_ago(1)) for number in range(2)),
        *(record(status=500, pathnameUrl=path, occurredAt=minutes_ago(1)) for path in ("/a", "/b")),
        *(record(status=404, pathnameUrl="/missing", occurredAt=minutes_ago(1)) for _ in range(9)),
    )
    assert re.search(
        r"Failing since [^:]*\d\d:\d\d UTC : GET /orders/{id} 503 , and 2 more paths", texts(person.get(path_of(story)))
    )
    story.report_batch(*(record(status=502, pathnameUrl="/c") for _ in range(5)))
    assert "GET /c 502 , and 3 more paths" in texts(person.get(path_of(story)))


def test_the_overview_says_that_all_is_well_and_that_nothing_came(person, story):
    assert "No request came in the last 24 hours" in texts(person.get(path_of(story)))
    story.report(status=404)
    assert "No request failed" in texts(person.get(path_of(story)))


def test_the_part_that_refreshes_is_all_that_a_refresh_gets(person, story):
    story.report()
    fragment = person.get(path_of(story), headers={"HX-Request": "true"})
    assert fragment.text.lstrip().startswith('<div id="overview"')
    assert "<html" not in fragment.text
    assert fragment.text.strip() in person.get(path_of(story)).text


def test_a_refresh_without_a_session_leads_the_whole_page_to_sign_in(app, person, story):
    answer = Person(app).get(path_of(story), headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/console/sign-in")


def test_traffic_is_filtered_by_what_the_address_says(person, story):
    story.report(status=503, pathnameUrl="/orders/1", method="post")
    story.report(status=404, pathnameUrl="/carts/100%", occurredAt=minutes_ago(90))
    story.report(status=200, pathnameUrl="/products/7", method="purge")

    def shown(query=""):
        page = person.get(path_of(story, f"/traffic{query}"))
        assert page.status_code == 200
        return {path for path in ("/orders/1", "/carts/100%", "/products/7") if path in texts(page).replace(" ", "")}

    assert shown() == {"/orders/1", "/carts/100%", "/products/7"}
    assert shown("?level=fatal") == {"/orders/1"}
    assert shown("?method=PURGE") == {"/products/7"}
    assert shown("?status=404") == {"/carts/100%"}
    assert shown("?status=5xx") == {"/orders/1"}
    assert shown("?status=+4XX+") == {"/carts/100%"}
    assert shown("?status=200-404") == {"/carts/100%", "/products/7"}
    assert shown("?pathname=ORDERS") == {"/orders/1"}
    assert shown("?pathname=%25") == {"/carts/100%"}
    assert shown("?pathname=_rders") == set()
    assert shown("?pathname=/Orders/*") == {"/orders/1"}
    assert shown("?pathname=/*/1*") == {"/orders/1", "/carts/100%"}
    assert shown("?pathname=rders/*") == set(), "with a star, it is the whole path"
    assert shown("?pathname=/_rders/*") == set()
    hour_ago = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M}"
    assert shown(f"?startDate={hour_ago}") == {"/orders/1", "/products/7"}
    assert shown(f"?endDate={hour_ago}") == {"/carts/100%"}
    assert shown("?level=fatal&method=&status=&pathname=&startDate=&endDate=") == {"/orders/1"}


LONG = "/" + "x" * 200


@pytest.mark.parametrize("paths", [("/orders/1", "/orders/76252"), (f"{LONG}/1", f"{LONG}/2")])
def test_a_row_of_the_overview_and_a_record_lead_to_all_requests_like_it(person, story, paths):
    first, *_ = ids = [story.report(status=503, method="post", pathnameUrl=path) for path in paths]
    story.report(status=503, method="post", pathnameUrl="/carts/1")
    story.report(status=503, method="put", pathnameUrl=paths[0])
    overview = person.get(path_of(story)).text
    rows = [link for link in re.findall(r'href="([^"]+)"><span class="method">POST', overview) if "carts" not in link]
    links = rows + re.findall(r'href="([^"]+)">More like this', person.get(f"/console/records/{first}").text)
    assert len([link for link in links if "level=fatal" in link]) >= 2
    for link in links:
        found = re.findall(r"/console/records/([0-9a-f-]+)", person.get(link.replace("&amp;", "&")).text)
        assert set(found) == set(ids), link


def test_without_a_script_the_list_and_its_filter_are_in_utc(person, story):
    story.report()
    seen = texts(person.get(path_of(story, "/traffic?startDate=2025-07-21T14:30")))
    for label in ("Time", "From", "To"):
        assert f"{label} ( UTC )" in seen
    assert 'value="2025-07-21T14:30"' in person.page.text


def test_a_filter_that_nothing_matches_says_further_only_below_a_page(person, story):
    record_id = story.report(status=200)
    assert "No request matches." in texts(person.get(path_of(story, "/traffic?level=fatal")))
    below = person.get(path_of(story, f"/traffic?level=fatal&before={record_id}"))
    assert "No further request matches." in texts(below)


def test_filters_stay_in_the_form_and_in_the_links(person, story, monkeypatch):
    monkeypatch.setattr("app.console.views.traffic.PAGE_LENGTH", 2)
    ids = [story.report(pathnameUrl=f"/orders/{number}") for number in range(5)]
    page = person.get(path_of(story, "/traffic?level=fatal&pathname=orders"))
    assert 'value="orders"' in page.text
    seen = []
    while True:
        seen += re.findall(r"/console/records/([0-9a-f-]+)", page.text)
        older = re.search(r'href="([^"]+)">Older', page.text)
        if not older:
            break
        page = person.get(older[1].replace("&amp;", "&"))
    assert seen == ids[::-1]


def test_a_page_looks_through_so_many_records_and_says_how_to_go_on(person, story, monkeypatch):
    monkeypatch.setattr(traffic_pages, "MAX_LOOKED_AT", 3)
    rare = story.report(status=503, pathnameUrl="/rare")
    for _ in range(4):
        story.report(status=200)
    page = person.get(path_of(story, "/traffic?level=fatal"))
    assert rare not in page.text
    further = re.search(r'href="([^"]+)">Look further back', page.text)[1].replace("&amp;", "&")
    page = person.get(further)
    assert rare in page.text
    assert "Look further back" not in page.text


@pytest.mark.parametrize(
    ("query", "field"),
    [("level=bad", "level"), ("method=1", "method"), ("startDate=x", "startDate")],
)
def test_an_impossible_filter_is_refused_in_the_words_of_the_api(ana, person, story, query, field):
    told = refused(ana.get(f"/http-traffics/{story.source_id}?{query}"), 400)["errors"]["query"]
    page = person.get(path_of(story, f"/traffic?{query}"))
    assert page.status_code == 400
    assert errors_of(page) == {field: told[field][0]}


@pytest.mark.parametrize("status", ["x", "6", "1000", "500-400", "5xx-"])
def test_an_impossible_status_is_refused_with_what_is_expected(person, story, status):
    page = person.get(path_of(story, f"/traffic?status={status}"))
    assert page.status_code == 400
    assert re.search("404, 4xx or 400-403|must not be above", errors_of(page)["status"])


def test_a_record_is_shown_whole(person, story):
    record_id = story.report(
        method="post",
        requestHeaders={"x-trace": "abc"},
        requestBody={"cart": [1, 2]},
        responseBody="plain text\nof two lines",
        traffic_user_id="u-1",
        queryParams={"page": "2"},
        elapsedTime=1840.5,
    )
    page = person.get(f"/console/records/{record_id}")
    assert "https://api.payments.com/orders/123" in page.text
    assert "500" in page.text
    assert "Internal Server Error" in page.text
    assert "&#34;cart&#34;: [\n    1,\n    2\n  ]" in page.text
    assert "plain text\nof two lines" in page.text
    assert "1.8 s" in page.text


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [({}, True), ({"requestBody": {}}, True), ({"requestBody": {"a": 1}}, False), ({"responseBody": "text"}, False)],
)
def test_a_record_without_bodies_says_how_they_are_reported(person, story, fields, is_told):
    page = person.get(f"/console/records/{story.report(**fields)}")
    assert ("Reporter(dsn, bodies=True)" in page.text) == is_told


@pytest.mark.parametrize(("path", "is_template"), [("/orders/{id}", True), ("/orders/7", False), ("/a/{}b}", False)])
def test_a_route_s_template_is_said_to_be_one(person, story, path, is_template):
    page = person.get(f"/console/records/{story.report(pathnameUrl=path)}")
    assert ("route&#39;s template" in page.text or "route's template" in page.text) == is_template


def test_nothing_reported_or_typed_becomes_markup(ana, person):
    source = ana.post("/traffic-sources", {"name": CANARY, "trafficDomain": "x.example.com"}).json["id"]
    story = Story.__new__(Story)
    story.client, story.source_id = ana, source
    bidi = "\u202eevil\u2066"
    record_id = story.report(
        pathnameUrl=f"/{CANARY}{bidi}",
        trafficUserId=CANARY,
        requestHeaders={CANARY: CANARY},
        requestBody=CANARY,
        queryParams={CANARY: CANARY},
        responseHeaders={"x": f"https://evil.example.com {CANARY}"},
        responseBody={"a": f"{CANARY}{bidi}"},
    )
    ana.post(f"/traffic-sources/{source}/ingest-tokens", {"name": CANARY})
    person.post("/console/account", name=CANARY, email="ana@example.com")
    pages = ["/console/sources", "/console/account", f"/console/records/{record_id}", "/console/sign-in"]
    pages += [
        f"/console/sources/{source}{page}" for page in ("", "/traffic", "/webhooks", "/connect", "/settings", "/delete")
    ]
    pages += [f"/console/sources/{source}/traffic?pathname=%3Cscript%3E&method=%3Cscript%3E&level=%22%3E%3Cscript%3E"]
    pages += ["/console/sources?name=%3Cscript%3E", "/console/%3Cscript%3E"]
    for path in pages:
        page = person.get(path)
        elements = Elements(page)
        assert "<script>alert" not in page.text, path
        assert not [image for image in elements.of("img") if image["src"] == "x"], path
        assert not [link for link in elements.of("a") if "evil" in (link["href"] or "").partition("?")[0]], path
        assert "\u202e" not in page.text, path
        assert "\u2066" not in page.text, path
    for target in ("/console/sources", f"/console/sources/{source}/webhooks"):
        page = person.post(target, name=CANARY, trafficDomain=CANARY, level=CANARY, value=CANARY)
        assert page.status_code == 400
        assert "<script>alert" not in page.text


def test_the_first_visit_shows_a_token_once_and_it_reports(app, ana, person, story):
    page = person.get(path_of(story, "/connect"))
    token = re.search(r"ingest_[\w-]{40,}", page.text)[0]
    assert "Waiting for the first request…" in page.text
    assert f"http://{token}@localhost/{story.source_id}" in page.text
    assert f"http://localhost/http-traffic-records/{story.source_id}" in page.text
    again = person.get(path_of(story, "/connect"))
    assert token not in again.text
    assert "ingest_TOKEN" in again.text
    assert ana.get(f"/traffic-sources/{story.source_id}/ingest-tokens").json["meta"]["totalItems"] == 1
    assert Client(app, token).post(f"/http-traffic-records/{story.source_id}", record()).status_code == 201
    waiting = person.get(path_of(story, "/connect"), headers={"HX-Request": "true"})
    assert "Requests arrive." in waiting.text
    assert "data-hx-get" not in waiting.text, "it asks no further"


def test_a_browser_that_fetches_ahead_uses_up_no_token(ana, person, story):
    person.get(path_of(story, "/connect"), headers={"Sec-Purpose": "prefetch"})
    assert ana.get(f"/traffic-sources/{story.source_id}/ingest-tokens").json["data"] == []


def test_further_tokens_are_made_and_revoked(app, ana, person, story):
    person.get(path_of(story, "/connect"))
    page = person.post(path_of(story, "/connect"), name="production")
    token = re.search(r"ingest_[\w-]{40,}", page.text)[0]
    of_tokens = f"/traffic-sources/{story.source_id}/ingest-tokens"
    newest = ana.get(of_tokens).json["data"][0]
    assert newest["name"] == "production"
    person.submit(f"/console/sources/{story.source_id}/tokens/{newest['id']}/delete")
    assert "production" not in texts(person.page)
    refused(Client(app, token).post(f"/http-traffic-records/{story.source_id}", record()), 401)


def test_the_curl_line_reports_for_the_domain_of_the_source_and_holds_nothing_for_the_shell_to_run(person, story):
    story.client.put(f"/traffic-sources/{story.source_id}", {"trafficDomain": "http://shop.example.com:8080"})
    assert '"domainUrl": "http://shop.example.com:8080"' in unescape(person.get(path_of(story, "/connect")).text)
    story.client.put(f"/traffic-sources/{story.source_id}", {"trafficDomain": "https://x.example.com/'$(id)'"})
    page = unescape(person.get(path_of(story, "/connect")).text)
    assert '"domainUrl": "https://api.example.com"' in page
    assert "$(id)" not in page.partition("curl -sS")[2]


def test_what_is_to_be_pasted_stands_in_the_documents_too(person, story):
    documents = "".join(file.read_text() for file in ROOT.glob("docs/connect*.md"))
    for text in (snippets.FLASK, snippets.DJANGO, snippets.FASTAPI, snippets.NGINX, snippets.TAIL):
        assert text in documents
    for line in snippets.EXPRESS.splitlines():
        assert line in documents
    page = person.get(path_of(story, "/connect"))
    for line in re.findall(r"export OTEL_\w+=", documents):
        assert line in page.text
    assert all(
        name in page.text for name in ("Flask", "Django", "FastAPI", "Express", "OpenTelemetry", "nginx", "curl")
    )


@pytest.mark.parametrize(("wanted", "found"), [("/", 2), ("=/", 1), ("=/Orders", 1), ("/*", 2), ("=", 0)])
def test_a_path_after_an_equals_sign_is_found_as_a_whole(person, story, wanted, found):
    story.report(pathnameUrl="/")
    story.report(pathnameUrl="/orders")
    page = person.get(path_of(story, f"/traffic?pathname={quote(wanted)}"))
    assert len(set(re.findall(r"/console/records/([0-9a-f-]{36})", page.text))) == found


def test_more_like_a_record_are_those_of_its_path(person, story):
    story.report(pathnameUrl="/")
    record_id = story.report(pathnameUrl="/orders")
    story.report(pathnameUrl="/orders/all")
    link = re.search(r'href="([^"]+)">More like this', person.get(f"/console/records/{record_id}").text)[1]
    page = person.get(link.replace("&amp;", "&"))
    assert set(re.findall(r"/console/records/([0-9a-f-]{36})", page.text)) == {record_id}
