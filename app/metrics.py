"""What Prometheus sees. Read from the database, so every API worker and every dispatcher shows in it."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from app.models.columns import utcnow
from app.models.delivery import STATES
from app.repositories import deliveries


class OutboxCollector:
    def collect(self) -> Iterator[Any]:
        now = utcnow()
        counts = deliveries.count_by_state()
        states = GaugeMetricFamily("arkyn_deliveries", "Messages in the outbox and its history.", labels=["state"])
        for state in STATES:
            states.add_metric([state], counts[state])
        yield states
        oldest, seen = deliveries.oldest_pending(), deliveries.last_heartbeat()
        age = (now - oldest).total_seconds() if oldest else 0
        yield GaugeMetricFamily("arkyn_oldest_pending_seconds", "Age of the oldest pending message.", value=age)
        last = (now - seen).total_seconds() if seen else float("inf")
        yield GaugeMetricFamily("arkyn_dispatcher_last_seen_seconds", "Since a dispatcher was last seen.", value=last)


def collect() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(OutboxCollector())
    return registry
