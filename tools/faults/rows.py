"""The fault scenarios. Each reports while its fault strikes, and yields a row for each of its webhooks."""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.delivery.dispatcher import LEASE
from app.discord.client import READ_SECONDS
from tools.fake_discord import Fault
from tools.faults import alerts, neighbours
from tools.faults.databases import POSTGRESQL, can_be_crashed, crash
from tools.faults.scenario import PATIENCE_SECONDS, Row, Scene, Target, load
from tools.processes import eventually, kill_group

OUTAGE_SECONDS = 60.0
# An outage of a minute is over before the fourth retry, which comes 110 s after the first try, or 132 at worst.
UNTIL_RETRIED_SECONDS = 150.0
STORM, BATCH = 100_000, 1000

KILLED_ALL = "kill -9 of everything in mid-storm, three times"
KILLED_WITH_POLICY: dict[str, dict[str, Any]] = {
    f"{KILLED_ALL}, with ignored events and a threshold": {
        "ignore": [{"pathname": "/health"}, {"status": "503"}],
        "threshold": {"events": 20, "seconds": 10},
    },
    f"{KILLED_ALL}, with a threshold that is not reached": {"threshold": {"events": 100, "seconds": 1}},
}
# Steps that leave no claim come last: a later dispatcher would send their deliveries.
KILLED_BY_STEP = {
    "before sending": "kill -9 of the dispatcher before sending",
    "after sending": "kill -9 of the dispatcher after sending, before settling",
    "while settling": "kill -9 of the dispatcher while settling, before the commit",
    "after settling": "kill -9 of the dispatcher right after settling",
    "while claiming": "kill -9 of the dispatcher while claiming, before the commit",
}
ANSWERS = {
    "Discord answers 429 for a minute": Fault(
        status=429,
        headers={"Retry-After": "2", "X-RateLimit-Scope": "user"},
        body={"message": "You are being rate limited.", "retry_after": 2.0, "global": False},
    ),
    "Discord answers 500 for a minute": Fault(status=500),
    "Discord answers 503 for a minute": Fault(status=503),
    "Discord hangs for a minute": Fault(hang=READ_SECONDS + 5),
    "Discord hangs for a minute, having accepted": Fault(hang=READ_SECONDS + 5, accept=True),
    "connection dropped for a minute, before Discord accepted": Fault(drop=True),
    "connection dropped for a minute, after Discord accepted": Fault(drop=True, accept=True),
}
NO_NETWORK = "no network for a minute"
CRASHED = "PostgreSQL crashed and restarted under load, three times"
PAUSED_IN_FLIGHT = "two dispatchers, one stopped past its lease while Discord answers"
PAUSED_BEFORE = "two dispatchers, one stopped past its lease before it sends"
STORMED = "a storm of 100,000 failing requests"


def kill_everything(scene: Scene) -> Iterator[Row]:
    scene.discord.latency = 0.5
    gunicorn = scene.service.serve(WEB_CONCURRENCY="2", DIGEST_WINDOW_SECONDS="0")
    targets = [scene.channel(KILLED_ALL), scene.webhook_url(KILLED_ALL)]
    policed = [scene.channel(fault) for fault in KILLED_WITH_POLICY]
    for target, policy in zip(policed, KILLED_WITH_POLICY.values(), strict=True):
        target.set_policy(**policy)
    with load(targets + policed, pause=0.05):
        for _ in range(3):
            for target in targets:
                wait_for_messages(scene, target, 3)
            eventually(
                lambda: all(map(scene.is_answer_due, targets)), "a message to each is in flight", PATIENCE_SECONDS
            )
            kill_group(gunicorn)
            gunicorn = scene.service.serve(WEB_CONCURRENCY="2", DIGEST_WINDOW_SECONDS="0")
    yield from scene.rows(*targets, *policed)


def wait_for_messages(scene: Scene, target: Target, count: int) -> None:
    """Wait for ``count`` more messages; a dead dispatcher's lease may have to expire first."""
    wanted = len(scene.discord.posted_to(target.destination)) + count
    eventually(
        lambda: len(scene.discord.posted_to(target.destination)) >= wanted,
        f"{count} more messages are posted",
        LEASE.total_seconds() + PATIENCE_SECONDS,
    )


def kill_the_dispatcher_at_each_step(scene: Scene) -> Iterator[Row]:
    scene.service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    targets = []
    for step, fault in KILLED_BY_STEP.items():
        targets.append(strike(scene, step, scene.channel(fault)))
        if step == "after sending":
            targets.append(strike(scene, step, scene.webhook_url(fault)))
    scene.service.dispatch(DIGEST_WINDOW_SECONDS="0")
    yield from scene.rows(*targets)


def strike(scene: Scene, step: str, target: Target) -> Target:
    """Report, have a dispatcher killed at ``step`` with the message, and report again."""
    target.report(50)
    scene.killed(launcher(step))
    target.report(50)
    return target


def launcher(step: str) -> list[str]:
    return [sys.executable, "-m", "tools.faults.launcher", step]


def discord_fails_for_a_minute(scene: Scene) -> Iterator[Row]:
    """All faults at the same time, each at its own destination: none may disturb another."""
    scene.service.serve(DIGEST_WINDOW_SECONDS="1")
    targets = []
    for fault, answer in ANSWERS.items():
        of_fault = [scene.channel(fault)]
        if answer.drop and answer.accept:
            of_fault.append(scene.webhook_url(fault))
        for target in of_fault:
            scene.discord.outages[target.destination] = answer
        targets += of_fault
    with load(targets, pause=0.5):
        time.sleep(OUTAGE_SECONDS)
        scene.discord.outages.clear()
        time.sleep(2)
    yield from scene.rows(*targets, within=UNTIL_RETRIED_SECONDS)


def no_network_for_a_minute(scene: Scene) -> Iterator[Row]:
    scene.service.serve(DIGEST_WINDOW_SECONDS="1")
    target = scene.channel(NO_NETWORK)
    with load([target], pause=0.2):
        eventually(lambda: scene.requests_to(target), "a message is sent", PATIENCE_SECONDS)
        scene.discord.cut_off()
        time.sleep(OUTAGE_SECONDS)
        scene.discord.reconnect()
        time.sleep(2)
    yield from scene.rows(target, within=UNTIL_RETRIED_SECONDS)


def crash_postgresql(scene: Scene) -> Iterator[Row]:
    scene.discord.latency = 0.2
    scene.service.serve(WEB_CONCURRENCY="2", DIGEST_WINDOW_SECONDS="0")
    target = scene.channel(CRASHED)
    with load([target, target], pause=0.02):
        for _ in range(3):
            wait_for_messages(scene, target, 10)
            crash(scene.database, down_for=3)
        time.sleep(2)
    yield from scene.rows(target)


def stop_a_dispatcher_past_its_lease(scene: Scene) -> Iterator[Row]:
    """Stop two dispatchers that hold a claim; a third takes over both claims; then resume the two."""
    scene.service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    in_flight, before = scene.channel(PAUSED_IN_FLIGHT), scene.channel(PAUSED_BEFORE)
    scene.discord.latency = 5.0
    first = scene.service.dispatch(DIGEST_WINDOW_SECONDS="0")
    in_flight.report(20)
    eventually(lambda: scene.is_answer_due(in_flight), "a message is in flight", PATIENCE_SECONDS)
    first.suspend()
    second = scene.service.dispatch(*launcher("paused before sending"), DIGEST_WINDOW_SECONDS="0")
    before.report(20)
    eventually(lambda: second.status() == "stopped", "the second dispatcher stops itself", PATIENCE_SECONDS)
    scene.discord.latency = 0.0
    scene.service.dispatch(DIGEST_WINDOW_SECONDS="0")
    targets = [in_flight, before]
    with load(targets, pause=0.5):
        eventually(
            lambda: not any(map(is_held, targets)),
            "the claims of the stopped dispatchers are taken over",
            LEASE.total_seconds() + PATIENCE_SECONDS,
        )
        first.resume()
        second.resume()
        eventually(
            lambda: scene.service.log.count("Lost the claim") >= 2, "both find their claims lost", PATIENCE_SECONDS
        )
        time.sleep(2)
    yield from scene.rows(*targets)


def is_held(target: Target) -> bool:
    """Whether the first delivery is still claimed."""
    *_, first = target.deliveries()
    return bool(first["state"] == "delivering")


def storm(scene: Scene) -> Iterator[Row]:
    scene.service.serve(WEB_CONCURRENCY="2")
    target = scene.channel(STORMED)

    def report_a_batch(_: int) -> None:
        eventually(lambda: target.report(BATCH), "a batch is accepted", PATIENCE_SECONDS)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(report_a_batch, range(STORM // BATCH)))
    yield from scene.rows(target, within=3 * PATIENCE_SECONDS)


def anywhere(database: str) -> bool:
    return True


def on_postgresql(database: str) -> bool:
    return database == POSTGRESQL


def nothing() -> str:
    return ""


@dataclass(frozen=True)
class Scenario:
    """A scenario and the faults of its rows. ``lacks`` returns a missing requirement, or an empty text."""

    run: Callable[[Scene], Iterator[Row]]
    faults: list[str]
    runs_on: Callable[[str], bool] = anywhere
    lacks: Callable[[], str] = nothing


SCENARIOS = [
    Scenario(kill_everything, [KILLED_ALL, *KILLED_WITH_POLICY]),
    Scenario(kill_the_dispatcher_at_each_step, list(KILLED_BY_STEP.values())),
    Scenario(alerts.kill_while_an_alert_fires, [alerts.FIRED]),
    Scenario(discord_fails_for_a_minute, list(ANSWERS)),
    Scenario(no_network_for_a_minute, [NO_NETWORK]),
    Scenario(crash_postgresql, [CRASHED], runs_on=can_be_crashed),
    Scenario(stop_a_dispatcher_past_its_lease, [PAUSED_IN_FLIGHT, PAUSED_BEFORE]),
    Scenario(storm, [STORMED]),
    Scenario(neighbours.suspend_and_mute, [neighbours.SUSPENDED]),
    Scenario(neighbours.move, [neighbours.MOVED]),
    Scenario(neighbours.mute_until_9999, [neighbours.UNTIL_9999], runs_on=on_postgresql),
    Scenario(neighbours.poison_rows, [neighbours.POISONED]),
    Scenario(neighbours.unmute_a_backlog, [neighbours.GATHERED]),
    Scenario(neighbours.delete_in_flight, [neighbours.DELETED]),
    Scenario(
        neighbours.set_a_dispatchers_clock_ahead,
        [neighbours.DISPATCHER_AHEAD],
        runs_on=on_postgresql,
        lacks=neighbours.no_faketime,
    ),
    Scenario(
        neighbours.set_the_apis_clock_ahead,
        [neighbours.API_AHEAD],
        runs_on=on_postgresql,
        lacks=neighbours.no_faketime,
    ),
]
