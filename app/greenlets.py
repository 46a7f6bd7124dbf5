"""Where gunicorn serves, all requests of a worker share one thread: whatever computes for long must leave it.

In tests and commands there are no greenlets, and gevent is not even loaded.
"""

import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def are_used() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def let_others_go_on(compute: Callable[..., T], *arguments: object) -> T:
    """Call what computes without Python's lock. It must not raise: gevent would write its error to the log."""
    if not are_used():
        return compute(*arguments)
    from gevent import get_hub  # noqa: PLC0415

    result: T = get_hub().threadpool.apply(compute, arguments)
    return result
