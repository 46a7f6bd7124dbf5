"""Caches that hold a bounded number of bytes, whatever callers send."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


def remember_short(max_entries: int, max_length: int = 256) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """An LRU cache of a function of one text. Texts of more than ``max_length`` characters pass it by."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        remembered = lru_cache(max_entries)(function)

        def call(text: str) -> T:
            return remembered(text) if len(text) <= max_length else function(text)

        return call

    return decorate
