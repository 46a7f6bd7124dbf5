"""The works of the benchmark, by name. Each yields its rows."""

from collections.abc import Callable, Iterator

from tools.bench.report import Row
from tools.bench.servers import Bench
from tools.bench.works import deliveries, processes, requests

WORKS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "baselines": requests.baselines,
    "create": requests.create_webhook,
    "list": requests.list_webhooks,
    "list-sources": requests.list_sources,
    "list-traffic": requests.list_traffic,
    "record": requests.record_without_notification,
    "notify": requests.record_with_notification,
    "batch": requests.batches,
    "quiet": deliveries.quiet_webhook,
    "steady": deliveries.steady_stream,
    "drain": deliveries.drain,
    "storm": deliveries.storm,
    "memory": processes.memory_and_idling,
    "startup": processes.start_up,
}
