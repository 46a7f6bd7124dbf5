"""Faults of one user's webhooks, and of clocks: no message is lost, and other users' messages are not delayed."""

import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from sqlalchemy import insert, text

from app.digests import Digest, Event
from app.models import Delivery
from app.models.columns import new_id, utcnow
from tools.fake_discord import Fault
from tools.faults.databases import POSTGRESQL
from tools.faults.scenario import PATIENCE_SECONDS, Row, Scene, Target, load
from tools.processes import eventually

# The promise is 0.5 s; the suite allows more, since it runs for both databases at once on as few as two cores.
BUSY_SECONDS = 2.0
GONE = Fault(status=404, body={"code": 10003, "message": "Unknown Channel"})
ROUNDS = 10
BACKLOG, KINDS = 200_000, 100
URLS = 40
AT_ONCE = {"DIGEST_WINDOW_SECONDS": "0"}
NO_DISPATCHER = {"EMBEDDED_DISPATCHER": "false"}

SUSPENDED = "webhook suspended by 404, muted, resumed and unmuted, ten times"
MOVED = "webhook moved while its old address answers 404, ten times"
UNTIL_9999 = "webhooks muted for 89 days and until 9999, on a PostgreSQL in Berlin"
POISONED = "rows of another user made unreadable, over and over"
GATHERED = "another user's backlog of 200,000 events unmuted"
DELETED = "webhooks and sources of another user deleted while their message is in flight"
DISPATCHER_AHEAD = "two dispatchers, one with its clock 120 s ahead"
API_AHEAD = "clock of the API 120 s ahead"

POISON = [("deliveries", "digest", "'{'"), ("webhooks", "value_template", "'nonsense'")]
# Times that PostgreSQL can hold, but not Python.
INFINITE = [
    ("webhooks", column, value)
    for column in ("next_message_at", "muted_until", "last_delivered_at", "incident_since", "last_event_at")
    for value in ("'infinity'", "'-infinity'")
]


def suspend_and_mute(scene: Scene) -> Iterator[Row]:
    scene.service.serve(**AT_ONCE)
    targets = [scene.channel(SUSPENDED), scene.webhook_url(SUSPENDED)]
    with load(targets, pause=0.05):
        for _ in range(ROUNDS):
            for target in targets:
                scene.discord.outages[target.destination] = GONE
                eventually(lambda: target.status["state"] == "suspended", "it is suspended", PATIENCE_SECONDS)  # noqa: B023
                target.mute(days=1)
                del scene.discord.outages[target.destination]
                target.put()
                time.sleep(0.5)
                target.unmute()
    yield from scene.rows(*targets)


def move(scene: Scene) -> Iterator[Row]:
    scene.service.serve(**AT_ONCE)
    scene.discord.latency = 1.0
    targets = [scene.channel(MOVED), scene.webhook_url(MOVED)]
    with load(targets, pause=0.05), ThreadPoolExecutor(len(targets)) as pool:
        list(pool.map(lambda target: move_away(scene, target), targets))
    yield from scene.rows(*targets)
    for target in targets:
        assert {message.destination for message in scene.messages_of(target)} == {target.destination}
        assert target.status["state"] == "active"


def move_away(scene: Scene, target: Target) -> None:
    """Move the webhook from one dead address to the next and finally to a live one, before or during an answer."""
    for number in range(ROUNDS):
        scene.discord.outages[target.destination] = GONE
        eventually(lambda: scene.is_answer_due(target), "a message is in flight", PATIENCE_SECONDS)
        time.sleep(scene.discord.latency * number / ROUNDS)
        target.put(str(int(target.id) + 1000))


def mute_until_9999(scene: Scene) -> Iterator[Row]:
    with scene.sql() as connection:
        database = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {database} SET timezone = 'Europe/Berlin'"))
    scene.service.serve(**AT_ONCE)
    muted, forever = scene.channel(UNTIL_9999), scene.channel(UNTIL_9999)
    other = scene.neighbours(UNTIL_9999, bound=2.0)
    muted.mute(days=89)
    with load([muted, forever], pause=0.2):
        for _ in range(ROUNDS):
            poison(scene, forever, ("webhooks", "muted_until", "'9999-12-31 23:59:59+00'"))
            keep_timing(scene, other, seconds=1)
    yield from scene.rows(other)
    assert muted.pending == len(muted.accepted)
    assert forever.status["mutedUntil"].startswith("9999-12-31")


def poison_rows(scene: Scene) -> Iterator[Row]:
    # Turn on recovery, so that incidents with infinite times are closed, too.
    scene.service.serve(**AT_ONCE, RECOVERY_AFTER_SECONDS="3600")
    poisons = POISON + INFINITE * (scene.database.name == POSTGRESQL)
    poisoned = [scene.channel(POISONED) for _ in poisons]
    other = scene.neighbours(POISONED, bound=2.0)
    with load(poisoned, pause=0.3):
        for _ in range(2 * ROUNDS):
            # Only pending deliveries can be poisoned.
            poisoned[0].mute(days=1)
            assert poisoned[0].report()
            for target, what in zip(poisoned, poisons, strict=True):
                poison(scene, target, what)
            poisoned[0].unmute()
            keep_timing(scene, other, seconds=1)
    yield from scene.rows(other)
    assert scene.service.log.count("cannot be read, and is put off") > ROUNDS


def poison(scene: Scene, target: Target, what: tuple[str, str, str]) -> None:
    table, column, value = what
    rows = {"deliveries": "state = 'pending' AND webhook_id", "webhooks": "id"}[table]
    statement = f"UPDATE {table} SET {column} = {value} WHERE {rows} = :id"
    id = target.webhook_id if scene.database.name == POSTGRESQL else target.webhook_id.replace("-", "")
    with scene.sql() as connection:
        connection.execute(text(statement), {"id": id})


def unmute_a_backlog(scene: Scene) -> Iterator[Row]:
    scene.service.serve(**AT_ONCE)
    muted = scene.channel(GATHERED)
    muted.mute(days=1)
    gather(scene, muted)
    other, busy = scene.neighbours(GATHERED, bound=BUSY_SECONDS), scene.neighbours(GATHERED, bound=BUSY_SECONDS)
    beside = []
    with load([busy], pause=0.1):
        keep_timing(scene, other, seconds=1)
        muted.unmute()
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        while not scene.messages_of(muted) and time.monotonic() < deadline:
            keep_timing(scene, other, seconds=1)
            began = time.monotonic()
            beside.append(scene.neighbours(GATHERED, bound=BUSY_SECONDS, id=muted.id))
            beside[-1].longest = time.monotonic() - began
            scene.time(beside[-1])
    yield together(scene.rows(other, busy, *beside))
    told = [message.events for message in scene.messages_of(muted)]
    assert told == [BACKLOG], f"Of the backlog of {BACKLOG}, messages tell {told}."


def gather(scene: Scene, target: Target) -> None:
    """Insert BACKLOG deliveries, as if as many single reports had come."""
    digests = [
        Digest.of([Event("get", "api.payments.com", f"/p{kind}x", 500, 1, 5.0, new_id())]).dumps()
        for kind in range(KINDS)
    ]
    now = utcnow()
    row = {"webhook_id": target.webhook_id, "state": "pending", "next_attempt_at": now, "created_at": now}
    with scene.sql() as connection:
        for _ in range(BACKLOG // KINDS // 100):
            connection.execute(insert(Delivery), [{**row, "digest": digest} for digest in digests * 100])


def delete_in_flight(scene: Scene) -> Iterator[Row]:
    scene.service.serve(**AT_ONCE)
    other = scene.neighbours(DELETED, bound=2.0)
    scene.discord.latency = 0.5
    for number in range(2 * ROUNDS):
        deleted = scene.channel(DELETED, other.id)
        deleted.report()
        eventually(lambda: scene.is_answer_due(other), "a message is in flight", PATIENCE_SECONDS)
        path = f"/webhooks/{deleted.webhook_id}" if number % 2 else f"/traffic-sources/{deleted.story.source_id}"
        assert deleted.story.client.delete(path).status_code == 204
        scene.time(other)
    yield from scene.rows(other)


def set_a_dispatchers_clock_ahead(scene: Scene) -> Iterator[Row]:
    scene.service.serve(ready="/healthz", **NO_DISPATCHER)
    # Leave the monotonic clock alone: threads wait by it, and faketime does not cover all of its uses.
    for clock in ({}, clock_ahead() | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}):
        scene.service.dispatch(**AT_ONCE, **clock)
    targets = [scene.webhook_url(DISPATCHER_AHEAD) for _ in range(URLS)]
    scene.discord.latency = 4.0
    for _ in range(2):
        for target in targets:
            assert target.report()
        time.sleep(1)
    row = together(scene.rows(*targets))
    yield row
    assert not row.sent_twice
    assert_clock_was_ahead(scene)


def set_the_apis_clock_ahead(scene: Scene) -> Iterator[Row]:
    scene.service.serve(ready="/healthz", **NO_DISPATCHER, **clock_ahead())
    scene.service.dispatch(**AT_ONCE)
    other = scene.neighbours(API_AHEAD, bound=2.0)
    keep_timing(scene, other, seconds=10)
    yield from scene.rows(other)
    assert scene.client.get("/readyz").status_code == 200
    assert_clock_was_ahead(scene)


def clock_ahead(seconds: int = 120) -> dict[str, str]:
    """Settings of a process whose clock is wrong; behind, if ``seconds`` are negative."""
    return {"LD_PRELOAD": str(libfaketime()), "FAKETIME": f"{seconds:+d}s", "NO_FAKE_STAT": "1"}


def assert_clock_was_ahead(scene: Scene) -> None:
    """Check that a process logged a time in the future."""
    logged = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", scene.service.log, re.MULTILINE)
    assert max(logged) > time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + 60))


def libfaketime() -> Path | None:
    found = (path for place in ("lib*", "lib/*") for path in Path("/usr").glob(f"{place}/faketime/libfaketime.so.1"))
    return next(found, None)


def no_faketime() -> str:
    return "" if libfaketime() else "libfaketime is not installed (Debian: apt install faketime)"


def keep_timing(scene: Scene, target: Target, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        scene.time(target)
        time.sleep(0.05)


def together(rows: Iterable[Row]) -> Row:
    """One row that sums those of several webhooks."""
    rows = list(rows)
    return replace(
        rows[0],
        **{
            name: sum(getattr(row, name) for row in rows)
            for name in ("accepted", "delivered", "lost", "sent_twice", "messages")
        },
        seconds=max(row.seconds for row in rows),
        longest=max(row.longest for row in rows),
        problems=tuple(problem for row in rows for problem in row.problems),
    )
