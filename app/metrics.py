"""What Prometheus sees. Read from the database, so every API worker and every dispatcher shows in it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from app import counters
from app.models.columns import utcnow
from app.models.delivery import STATES
from app.repositories import deliveries, discord_limits, dispatchers, webhooks


class OutboxCollector:
    def collect(self) -> Iterator[Any]:
        now = utcnow()
        counts = deliveries.count_by_state()
        states = GaugeMetricFamily("arkyn_deliveries", "Messages in the outbox and its history.", labels=["state"])
        for state in STATES:
            states.add_metric([state], counts[state])
        yield states
        oldest, seen = deliveries.oldest_pending(), dispatchers.last_heartbeat()
        age = (now - oldest).total_seconds() if oldest else 0
        yield GaugeMetricFamily("arkyn_oldest_pending_seconds", "Age of the oldest pending message.", value=age)
        suspended = webhooks.count_suspended()
        yield GaugeMetricFamily("arkyn_suspended_webhooks", "Webhooks Discord refused for good.", value=suspended)
        yield from self.limits(now)
        last = (now - seen).total_seconds() if seen else float("inf")
        yield GaugeMetricFamily("arkyn_dispatcher_last_seen_seconds", "Since a dispatcher was last seen.", value=last)

    def limits(self, now: datetime) -> Iterator[Any]:
        alarms = GaugeMetricFamily("arkyn_alarm", "1 while nothing is sent to a kind of address.", labels=["kind"])
        invalid = GaugeMetricFamily(
            "arkyn_invalid_requests", "Answers of 401, 403 and 429 in this 10-minute window.", labels=["kind"]
        )
        raised = discord_limits.alarms(now)
        for limit in discord_limits.list_all():
            alarms.add_metric([limit.kind], float(limit.kind in raised))
            current = now - limit.invalid_since < discord_limits.INVALID_WINDOW
            invalid.add_metric([limit.kind], limit.invalid_requests if current else 0)
        yield alarms
        yield invalid


def collect() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(counters.collector())
    registry.register(OutboxCollector())
    return registry
