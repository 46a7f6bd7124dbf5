"""Faults while an alert fires: it is told once."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tools.faults.scenario import PATIENCE_SECONDS, Row, Scene, Target
from tools.processes import eventually, kill_group

FIRED = "kill -9 of four dispatchers at four steps while an alert fires"
STEPS = ("while an alert fires", "after an alert fired", "before sending", "after sending")
ALERT = {"kind": "errorRate", "threshold": 50, "minutes": 5, "minRequests": 1, "webhookLevel": "fatal"}
# Within the minutes that the alert's first evaluation looks at, so that nothing waits for a minute to end.
AGO = timedelta(minutes=2)


def kill_while_an_alert_fires(scene: Scene) -> Iterator[Row]:
    """Kill each dispatcher at a later step than the one before; then let two go on."""
    scene.service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    target = scene.channel(FIRED)
    first = scene.service.dispatch()
    assert target.report(50, occurredAt=(datetime.now(UTC) - AGO).isoformat())
    eventually(lambda: is_delivered(target, messages=1), "the events are told", PATIENCE_SECONDS)
    kill_group(first)
    path = f"/traffic-sources/{target.story.source_id}/alerts"
    assert target.story.client.post(path, ALERT).status_code == 201
    for step in STEPS:
        scene.killed([sys.executable, "-m", "tools.faults.launcher", step])
    for _ in range(2):
        scene.service.dispatch()
    eventually(lambda: is_delivered(target, messages=2), "the alert is told", PATIENCE_SECONDS)
    yield from scene.rows(target)
    alerts = [message for message in scene.messages_of(target) if not message.events]
    assert len(alerts) == 1, f"The alert was told {len(alerts)} times."


def is_delivered(target: Target, messages: int) -> bool:
    return [delivery["state"] for delivery in target.deliveries()] == ["delivered"] * messages
