"""The main job: from sign-up to the message in Discord."""

import time
from statistics import median

from tests.e2e.marks import e2e, on_both_databases
from tools.processes import dispatchers_of, eventually
from tools.story import Story

pytestmark = e2e


@on_both_databases
def test_whoever_signs_up_and_reports_a_failing_request_finds_it_in_the_channel(service, discord):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook("fatal", "123456789")
    story.report(status=503, method="POST", pathnameUrl="/orders/42")
    (message,) = eventually(lambda: discord.posted_to("channels/123456789"), "the message arrives")
    (embed,) = message.body["embeds"]
    assert embed["title"] == "`POST api.payments.com/orders/42`"
    assert "503" in embed["description"]


@on_both_databases
def test_an_idle_service_is_at_discord_within_half_a_second_of_the_report(service, discord):
    service.serve(DIGEST_WINDOW_SECONDS="0")
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    assert median(seconds_to_discord(story, discord) for _ in range(5)) < 0.5


def seconds_to_discord(story, discord):
    seen = len(discord.requests)
    began = time.time()
    story.report()
    request = eventually(lambda: discord.requests[seen:], "the report reaches Discord")[0]
    return request.at - began


def test_without_the_embedded_dispatcher_a_separate_one_delivers(service, discord):
    gunicorn = service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    story.report()
    assert dispatchers_of(gunicorn) == []
    assert service.client.get("/readyz").status_code == 503
    service.dispatch()
    eventually(lambda: discord.messages, "the message arrives")
    assert service.client.get("/readyz").status_code == 200
