"""Keeps long computations from blocking a gevent worker, whose greenlets share one thread.

Without gevent, in tests and commands, the functions here do nothing special.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

TURN_SECONDS = 0.005


def are_used() -> bool:
    """Whether gevent has patched this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def yielding(items: Iterable[T]) -> Iterator[T]:
    """Yield ``items``, letting other greenlets run after each TURN_SECONDS. Not for use in a write transaction."""
    patched, began = are_used(), time.perf_counter()
    for item in items:
        yield item
        if patched and time.perf_counter() - began > TURN_SECONDS:
            # Looked up here, since gevent patches it after this module is imported. After a sleep of 0 seconds, gevent
            # would look at its sockets only once in fifty turns.
            time.sleep(1e-6)
            began = time.perf_counter()


def run_in_thread(compute: Callable[..., T], *arguments: object) -> T:
    """Call ``compute``, which releases the GIL, in a thread. It must not raise: gevent would log its error."""
    if not are_used():
        return compute(*arguments)
    from gevent import get_hub  # noqa: PLC0415

    result: T = get_hub().threadpool.apply(compute, arguments)
    return result
