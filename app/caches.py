"""An LRU cache whose size in bytes is bounded, since it skips long texts."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


def remember_short(max_entries: int, max_length: int = 256) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Decorate a function of one text with an LRU cache, which texts over ``max_length`` characters bypass."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        remembered = lru_cache(max_entries)(function)

        def call(text: str) -> T:
            return remembered(text) if len(text) <= max_length else function(text)

        return call

    return decorate
