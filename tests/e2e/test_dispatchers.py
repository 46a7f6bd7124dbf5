"""How many dispatchers there are, and what becomes of them."""

import pytest

from tests.e2e.marks import e2e, on_postgresql
from tools.processes import dispatchers_of, eventually, is_alive, workers_of
from tools.story import Story, record

pytestmark = [*e2e, pytest.mark.long]


def test_there_is_one_embedded_dispatcher_however_many_workers(service):
    gunicorn = service.serve(WEB_CONCURRENCY="3")
    eventually(lambda: len(workers_of(gunicorn)) == 3, "three workers run")
    assert len(dispatchers_of(gunicorn)) == 1
    assert service.dispatchers_started == 1


def test_a_killed_embedded_dispatcher_is_replaced_and_delivers_what_was_reported_meanwhile(service, discord):
    gunicorn = service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    (killed,) = dispatchers_of(gunicorn)
    killed.kill()
    story.report()
    eventually(lambda: discord.messages, "the message arrives")
    (successor,) = dispatchers_of(gunicorn)
    assert successor.pid != killed.pid


def test_the_embedded_dispatcher_ends_when_gunicorn_is_killed(service):
    gunicorn = service.serve()
    (dispatcher,) = dispatchers_of(gunicorn)
    gunicorn.kill()
    gunicorn.wait()
    eventually(lambda: not is_alive(dispatcher), "the dispatcher ends", within=5)


@on_postgresql
def test_two_dispatchers_share_the_work_and_send_nothing_twice(service, discord):
    discord.latency = 0.2
    service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    addresses = ["http://first.example", "http://second.example"]
    for address in addresses:
        service.dispatch(PUBLIC_URL=address, DISPATCHER_CONNECTIONS="4")
    channels = report_to_many_channels(service.client.sign_up("ana@example.com"), sources=8)
    eventually(lambda: len(discord.messages) >= len(channels), "all messages arrive")
    assert sorted(request.destination for request in discord.requests) == channels
    senders = {request.headers["User-Agent"].split("(")[1].split(",")[0] for request in discord.requests}
    assert sorted(senders) == addresses


def report_to_many_channels(client, sources):
    """One event for each of three channels per source. Returns the channels as Discord's stand-in knows them."""
    stories = [Story(client, domain=f"api{number}.payments.com") for number in range(sources)]
    levels = {"fatal": 500, "warning": 404, "info": 200}
    channels = []
    for number, story in enumerate(stories):
        for position, level in enumerate(levels):
            story.create_webhook(level, f"{number + 1}{position}")
            channels.append(f"channels/{number + 1}{position}")
    for story in stories:
        story.report_batch(*(record(status=status) for status in levels.values()))
    return sorted(channels)
