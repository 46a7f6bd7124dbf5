"""Collects the Prometheus metrics: counters of the API's processes, and gauges read from the database."""

from collections.abc import Iterator
from datetime import datetime
from threading import BoundedSemaphore

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.extensions import db
from app.monitoring import counters
from app.repositories import deliveries, discord_limits, dispatchers, outcome_counts, webhooks
from app.repositories.clock import database_now

# Anybody may ask for metrics, and each time they are counted anew: that takes one of a worker's connections at most.
_one_at_a_time = BoundedSemaphore()


class DatabaseCollector(Collector):
    """Metrics read from the database, hence equal on all hosts.

    Without a database, reports ``arkyn_database_up`` 0 instead of failing the scrape.
    """

    def collect(self) -> Iterator[Metric]:
        try:
            with _one_at_a_time:
                found = list(self._read(database_now()))
                db.session.commit()
        except SQLAlchemyError:
            found = []
        yield GaugeMetricFamily("arkyn_database_up", "Whether the database answers.", value=bool(found))
        yield from found

    def _read(self, now: datetime) -> Iterator[Metric]:
        yield from _outbox(now)
        yield from _outcomes()
        yield from _limits(now)
        suspended = webhooks.count_suspended()
        yield GaugeMetricFamily("arkyn_suspended_webhooks", "Webhooks Discord refused for good.", value=suspended)
        silent = dispatchers.seconds_since_heartbeat()
        silent = float("inf") if silent is None else silent
        yield GaugeMetricFamily("arkyn_dispatcher_last_seen_seconds", "Since a dispatcher was last seen.", value=silent)
        aside = sum(row.set_aside for row in dispatchers.in_trouble())
        yield GaugeMetricFamily("arkyn_set_aside", "Webhooks and steps that dispatchers set aside.", value=aside)


def _outbox(now: datetime) -> Iterator[Metric]:
    states = GaugeMetricFamily("arkyn_deliveries", "Messages in the outbox.", labels=["state"])
    backlog = deliveries.backlog()
    for state, (count, _) in backlog.items():
        states.add_metric([state], count)
    yield states
    age = _seconds_since(backlog["pending"][1], now)
    yield GaugeMetricFamily("arkyn_oldest_pending_seconds", "Age of the oldest pending message.", value=age)
    late = _seconds_since(deliveries.longest_due(now), now)
    yield GaugeMetricFamily(
        "arkyn_longest_due_seconds", "How long a message has been due and was not sent.", value=late
    )


def _outcomes() -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "arkyn_delivery_attempts",
        "Tries to send a message, by what became of it and the HTTP status Discord answered.",
        labels=["outcome", "status"],
    )
    notifications = CounterMetricFamily(
        "arkyn_notifications", "Events whose message was delivered or discarded.", labels=["outcome"]
    )
    # Start at 0, since Prometheus sees no increase in the first sample of a series.
    events = dict.fromkeys(("delivered", "discarded"), 0)
    for count in outcome_counts.list_all():
        if count.counted == "attempts":
            attempts.add_metric([count.outcome, str(count.status or "none")], count.number)
        else:
            events[count.outcome] = count.number
    for outcome, number in events.items():
        notifications.add_metric([outcome], number)
    yield from (attempts, notifications)


def _limits(now: datetime) -> Iterator[Metric]:
    alarms = GaugeMetricFamily("arkyn_alarm", "1 while nothing is sent to a kind of address.", labels=["kind"])
    invalid = GaugeMetricFamily(
        "arkyn_invalid_requests", "Answers of 401, 403 and 429 in this 10-minute window.", labels=["kind"]
    )
    left = GaugeMetricFamily(
        "arkyn_invalid_requests_left", "How many more there may be before sending pauses.", labels=["kind"]
    )
    raised = discord_limits.alarms(now)
    for kind, number in discord_limits.invalid_requests(now).items():
        alarms.add_metric([kind], kind in raised)
        invalid.add_metric([kind], number)
        left.add_metric([kind], max(0, discord_limits.INVALID_BUDGET - number))
    yield from (alarms, invalid, left)


def _seconds_since(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


def collect() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(counters.collector())
    registry.register(DatabaseCollector())
    return registry
