"""Where gunicorn serves, all requests of a worker share one thread: whatever computes for long must leave it.

In tests and commands there are no greenlets, and gevent is not even loaded.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def are_used() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def in_turns(items: Iterable[T], size: int = 20) -> Iterator[T]:
    """``items``; after each ``size`` of them other requests are served. Not within a transaction that writes."""
    patched = are_used()
    for number, item in enumerate(items, 1):
        yield item
        if patched and number % size == 0:
            # Looked up here: in gunicorn's own process, where this is imported, it is not gevent's yet.
            time.sleep(0)


def let_others_go_on(compute: Callable[..., T], *arguments: object) -> T:
    """Call what computes without Python's lock. It must not raise: gevent would write its error to the log."""
    if not are_used():
        return compute(*arguments)
    from gevent import get_hub  # noqa: PLC0415

    result: T = get_hub().threadpool.apply(compute, arguments)
    return result
