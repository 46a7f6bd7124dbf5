"""The console in a real browser: the whole first run by labels and roles, with and without a script, and axe."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.marks import e2e
from tools import browser as chromium
from tools import shop
from tools.fake_discord import Fault
from tools.processes import eventually
from tools.story import PASSWORD, WEBHOOK_URL, Client, Story, record

pytestmark = [*e2e, pytest.mark.long]

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
# All rules once; of a scheme, only colours differ.
RULES = {
    "light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]}},
}
CANARY = '<img src=x onerror="window.canary=1"><script>window.canary=1</script>'


@pytest.fixture(scope="module")
def browser():
    if chromium.find() is None:
        reason = "The console is NOT tested in a browser here: there is no Chromium."
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with chromium.started() as browser:
        yield browser


@pytest.fixture
def open_page(browser, service):
    """Opens pages of the service; a script error or a refusal by the Content-Security-Policy fails the test."""
    contexts, problems = [], []

    def open_page(**options):
        context = browser.new_context(base_url=service.server.url, **options)
        context.set_default_timeout(5_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.extend(re.findall("Content Security Policy.*", line.text)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def sign_in(page, email="ana@example.com"):
    page.goto("/console/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize("with_script", [True, False], ids=["with a script", "without a script"])
def test_a_stranger_gets_from_an_empty_service_to_a_message_in_discord(service, discord, open_page, with_script):
    service.serve()
    page = open_page(java_script_enabled=with_script)
    page.goto("/")
    expect(page).to_have_url(re.compile("/console/sign-up$"))
    page.get_by_label("Name").fill("Ana")
    page.get_by_label("E-mail").fill("ana@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()

    page.get_by_label("Name").fill("Shop")
    page.get_by_label("Domain").fill("not a domain")
    page.get_by_role("button", name="Create source").click()
    expect(page.get_by_label("Domain")).to_have_accessible_description(re.compile("Must be a host name"))
    expect(page.get_by_label("Name")).to_have_value("Shop")
    page.get_by_label("Domain").fill("shop.example.com")
    page.get_by_role("button", name="Create source").click()

    page.get_by_label("Level").select_option("fatal")
    page.get_by_label("Discord channel ID or webhook URL").fill(WEBHOOK_URL)
    page.get_by_role("button", name="Create webhook").click()
    discord.fail(Fault(404, {"code": 10015, "message": "Unknown Webhook"}))
    page.get_by_role("button", name="Send test message").click()
    expect(page.get_by_role("status")).to_contain_text("Discord does not know this webhook: it was deleted.")
    page.get_by_role("button", name="Send test message").click()
    expect(page.get_by_role("status")).to_contain_text("The test message was delivered.")
    page.get_by_role("link", name="Next: connect the application").click()

    expect(page.get_by_text("Waiting for the first request…")).to_be_visible()
    page.get_by_text("curl", exact=True).click()
    command = page.locator("#curl pre").inner_text()
    token = re.search(r"ingest_[\w-]+", command)[0]
    path = re.search(r"/http-traffic-records/[\w-]+", command)[0]
    assert f"{service.server.url}{path}" in command
    assert Client(service.server, token).post(path, record(status=503, pathnameUrl="/orders/42")).status_code == 201
    if with_script:
        expect(page.get_by_text("Requests arrive.")).to_be_visible()
        page.get_by_role("link", name="Go to the overview").click()
    else:
        page.get_by_role("link", name="Overview", exact=True).click()
    expect(page.get_by_text("One request failed")).to_be_visible()
    eventually(lambda: len(discord.messages) == 2, "the message arrives")
    page.get_by_role("link", name="Traffic").click()
    page.get_by_role("link", name="/orders/42").click()
    expect(page.get_by_text("503 Service Unavailable")).to_be_visible()


def test_a_message_leads_through_the_sign_in_to_its_record(service, discord, open_page):
    service.serve(PUBLIC_URL=service.server.url)
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    story.report(status=503, pathnameUrl="/orders/42")
    (message,) = eventually(lambda: discord.messages, "the message arrives")
    page = open_page()
    page.goto(message.body["embeds"][0]["url"])
    page.get_by_label("E-mail").fill("ana@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("https://api.payments.com/orders/42")).to_be_visible()


def test_the_overview_refreshes_itself_and_keeps_what_was_opened(service, open_page):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.report(status=200)
    page = open_page(timezone_id="Asia/Kathmandu")
    sign_in(page)
    page.goto(f"/console/sources/{story.source_id}")
    page.get_by_text("Figures of each step").click()
    story.report_batch(*(record(status=500) for _ in range(3)))
    expect(page.get_by_text("3 of 4 requests of this incident failed")).to_be_visible(timeout=8_000)
    expect(page.locator("details.per-step")).to_have_attribute("open", "")
    # Times are the reader's, 5:45 ahead, also after the refresh; the exact one is in UTC.
    shown = page.locator("details.per-step time").first
    exact = datetime.fromisoformat(shown.get_attribute("datetime"))
    expect(shown).to_have_attribute("title", shown.get_attribute("datetime"))
    assert shown.inner_text() == f"{(exact.hour * 60 + exact.minute + 345) // 60 % 24:02}:{(exact.minute + 45) % 60:02}"


def test_an_overview_that_cannot_refresh_itself_says_so_until_it_can_again(service, open_page):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.report(status=200)
    page = open_page()
    sign_in(page)
    page.goto(f"/console/sources/{story.source_id}")
    live = page.get_by_role("status")
    for refuse, says in {
        lambda route: route.abort(): "the service does not answer.",
        lambda route: route.fulfill(status=502, body="Bad gateway"): "the service does not answer.",
        lambda route: route.fulfill(status=429, body="Too many"): "the service answers with 429.",
    }.items():
        page.route(re.compile("hours=1"), refuse)
        expect(live).to_have_text(re.compile(rf"^\s*Not refreshed since \d\d:\d\d: {says}\s*$"), timeout=8_000)
        page.unroute(re.compile("hours=1"))
        expect(live).not_to_contain_text("Not refreshed", timeout=8_000)


def test_with_a_script_the_filter_is_in_the_zone_of_the_list(service, open_page):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    at = datetime.now(UTC).replace(hour=0, minute=0, second=30, microsecond=0)
    story.report(occurredAt=at.isoformat())
    page = open_page(timezone_id="Asia/Kathmandu")
    sign_in(page)
    page.goto(f"/console/sources/{story.source_id}/traffic")
    expect(page.get_by_role("columnheader", name="Time (GMT+5:45)")).to_be_visible()
    expect(page.locator("table.records time")).to_contain_text("05:45:30")
    page.get_by_label("From (GMT+5:45)").fill(f"{at:%Y-%m-%d}T05:45")
    page.get_by_label("To (GMT+5:45)").fill(f"{at:%Y-%m-%d}T05:46")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile(f"startDate={at:%Y-%m-%d}T00%3A00&endDate={at:%Y-%m-%d}T00%3A01"))
    expect(page.locator("table.records time")).to_have_count(1)
    expect(page.get_by_label("From (GMT+5:45)")).to_have_value(f"{at:%Y-%m-%d}T05:45")
    page.get_by_label("From (GMT+5:45)").fill(f"{at:%Y-%m-%d}T05:46")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("table.records")).to_have_count(0)


@pytest.mark.parametrize("with_script", [True, False], ids=["with a script", "without a script"])
def test_the_current_tab_is_in_view_on_a_narrow_screen(service, open_page, with_script):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    page = open_page(viewport={"width": 360, "height": 700}, java_script_enabled=with_script)
    sign_in(page)
    page.goto(f"/console/sources/{story.source_id}/settings")
    expect(page.get_by_role("link", name="Settings")).to_be_in_viewport(ratio=0.9)


def test_a_webhook_is_muted_and_deleted_by_its_buttons(service, open_page):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    page = open_page()
    sign_in(page)
    page.goto(f"/console/sources/{story.source_id}/webhooks")
    page.get_by_role("button", name="Mute").click()
    expect(page.get_by_text("muted until")).to_be_visible()
    page.get_by_role("button", name="Unmute").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Its policy and its history of deliveries go with it")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("The fatal webhook is deleted.")


@pytest.mark.parametrize("with_script", [True, False], ids=["with a script", "without a script"])
def test_a_policy_is_typed_previewed_and_saved_with_the_keyboard(service, open_page, with_script):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    story.report_batch(*(record(pathnameUrl="/health/db") for _ in range(3)))
    page = open_page(java_script_enabled=with_script)
    sign_in(page)
    page.goto(f"/console/sources/{story.source_id}/webhooks")
    page.get_by_role("link", name="Change policy").click()
    rule = page.get_by_role("group", name="Rule 1")
    rule.get_by_label("Path").fill("/health*")
    page.get_by_role("button", name="Add a row").press("Enter")
    expect(page.get_by_role("group", name="Rule 4")).to_be_visible()
    expect(rule.get_by_label("Path")).to_have_value("/health*")
    rule.get_by_label("Method").select_option("GET")
    if not with_script:
        page.get_by_role("button", name="Preview").press("Enter")
    told = "Would have sent 0 messages instead of 2; 3 of 3 events ignored, 0 held back."
    expect(page.locator("#preview")).to_have_text(told)
    rule.get_by_label("Path").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The policy of the fatal webhook is saved.")
    expect(page.get_by_text("Ignores GET /health*. Tells every other event.")).to_be_visible()


@pytest.mark.parametrize("with_script", [True, False], ids=["with a script", "without a script"])
def test_an_alert_is_typed_with_the_keyboard_and_silence_asks_for_no_threshold(service, open_page, with_script):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    page = open_page(java_script_enabled=with_script)
    sign_in(page)
    page.goto(f"/console/sources/{story.source_id}")
    page.get_by_role("link", name="Alerts").click()
    page.get_by_label("Threshold").fill("many")
    page.get_by_label("Within minutes").press("Enter")
    expect(page.get_by_label("Threshold")).to_have_accessible_description(re.compile("^Not a valid number"))
    expect(page.get_by_label("Threshold")).to_have_value("many")
    page.get_by_label("Fires when the application is").select_option("silence")
    expect(page.get_by_label("Threshold")).to_be_hidden()
    page.get_by_label("Within minutes").fill("15")
    page.get_by_label("Within minutes").press("Enter")
    expect(page.get_by_text("When no request comes for 15 minutes, tell the fatal webhook.")).to_be_visible()
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_role("button", name="Delete alert").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The alert is deleted.")


def pages_of(story):
    webhook_id = story.client.get(f"/webhooks/{story.source_id}").json[0]["id"]
    delivery_id = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"][0]["id"]
    record_id = story.client.get(f"/http-traffics/{story.source_id}?level=fatal").json["data"][0]["id"]
    alert_id = story.client.get(f"/traffic-sources/{story.source_id}/alerts").json[0]["id"]
    of_source = [f"/console/sources/{story.source_id}{page}" for page in ("", *SOURCE_PAGES)]
    return [
        *("/console/sources", "/console/account", "/console/sign-in", "/console/sign-up", "/console/nothing"),
        *("/console/forgot-password", "/console/reset-password/x", "/console/account/delete"),
        *(f"/console/records/{record_id}", f"/console/deliveries/{delivery_id}"),
        *(f"/console/webhooks/{webhook_id}/{page}" for page in ("deliveries", "policy", "delete")),
        *(f"/console/alerts/{alert_id}", f"/console/alerts/{alert_id}/delete"),
        *of_source,
    ]


SOURCE_PAGES = ("/traffic", "/traffic?status=x", "/webhooks", "/alerts", "/connect", "/people", "/settings", "/delete")


def test_axe_finds_nothing_on_any_page_in_either_scheme_and_none_is_wider_than_a_phone(service, discord, open_page):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"), name=CANARY)
    story.create_webhook(value=WEBHOOK_URL)
    for alert in ({"kind": "silence", "webhookLevel": "info"}, {"kind": "p95", "threshold": 1, "minRequests": 1}):
        story.create_alert({"webhookLevel": "fatal", "minutes": 5} | alert)
    story.report_batch(*list(shop.requests(datetime.now(UTC)))[::6])
    story.report(pathnameUrl=f"/{CANARY}", trafficUserId=CANARY, requestBody=CANARY, responseHeaders={"x": CANARY})
    eventually(lambda: discord.messages, "the message arrives")
    found = {}
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme, viewport={"width": 360, "height": 800}, bypass_csp=False)
        sign_in(page)
        for path in pages_of(story):
            page.goto(path)
            page.evaluate(AXE)
            result = page.evaluate("rules => axe.run(document, rules)", RULES[scheme])
            for violation in result["violations"]:
                found[scheme, path, violation["id"]] = [node["html"][:200] for node in violation["nodes"]]
            assert page.evaluate("document.documentElement.scrollWidth") == 360, path
            assert page.evaluate("window.canary") is None, path
    assert found == {}
