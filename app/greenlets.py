"""Keeps long computations from blocking a gevent worker, whose greenlets share one thread.

Without gevent, in tests and commands, the functions here do nothing special.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def are_used() -> bool:
    """Whether gevent has patched this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def yielding(items: Iterable[T], size: int = 20) -> Iterator[T]:
    """Yield ``items``, letting other greenlets run after each ``size``. Not for use in a write transaction."""
    patched = are_used()
    for number, item in enumerate(items, 1):
        yield item
        if patched and number % size == 0:
            # time.sleep is looked up here, since gevent patches it after this module is imported.
            time.sleep(0)


def run_in_thread(compute: Callable[..., T], *arguments: object) -> T:
    """Call ``compute``, which releases the GIL, in a thread. It must not raise: gevent would log its error."""
    if not are_used():
        return compute(*arguments)
    from gevent import get_hub  # noqa: PLC0415

    result: T = get_hub().threadpool.apply(compute, arguments)
    return result
