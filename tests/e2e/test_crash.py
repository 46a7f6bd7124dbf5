"""Nothing answered 201 is lost, whatever is killed."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from app.delivery.dispatcher import LEASE
from tools.processes import eventually, kill_group
from tools.story import Story, record

# On its own, not with the other end-to-end tests: it waits out a lease.
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("e2e-crash")]

LEVELS = {"fatal": 500, "warning": 404, "info": 200}


def test_every_record_answered_201_is_delivered_after_everything_was_killed_in_the_middle_of_a_burst(service, discord):
    discord.latency = 0.5
    gunicorn = service.serve(WEB_CONCURRENCY="2", DIGEST_WINDOW_SECONDS="1")
    story = Story(service.client.sign_up("ana@example.com"))
    for number, level in enumerate(LEVELS):
        story.create_webhook(level, f"10{number}")
    with ThreadPoolExecutor() as pool:
        reporters = [pool.submit(report_until_killed, story, status) for status in LEVELS.values()]
        eventually(lambda: discord.messages and has_fresh_request(discord), "messages are in flight")
        kill_group(gunicorn)
        accepted = sum(reporter.result() for reporter in reporters)

    service.serve(DIGEST_WINDOW_SECONDS="1")
    kept = story.client.get(f"/http-traffics/{story.source_id}").json["meta"]["totalItems"]
    # A record whose answer the kill cut off counts as kept, too.
    assert accepted <= kept <= accepted + len(reporters)
    # The stand-in, like Discord, posts what was in flight at the kill; its repeat it recognises by the nonce.
    eventually(
        lambda: events(discord) >= kept and len(discord.requests) > len(discord.messages),
        f"{kept} events are delivered, and what was in flight at the kill is repeated",
        within=LEASE.total_seconds() + 15,
    )
    assert events(discord) == kept


def report_until_killed(story, status):
    """How many records were answered 201."""
    accepted = 0
    while True:
        try:
            answer = story.client.post(f"/http-traffic-records/{story.source_id}", record(status=status))
        except urllib3.exceptions.HTTPError:
            return accepted
        accepted += answer.status_code == 201


def has_fresh_request(discord):
    """Whether a request came in just now, so that its answer is still some time off."""
    return time.time() - discord.requests[-1].at < discord.latency / 4


def events(discord):
    return sum(message.events for message in discord.messages)
