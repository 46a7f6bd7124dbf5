"""Globs in which ``*`` stands for any text and every other character for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable


def compile_globs(globs: Iterable[str]) -> re.Pattern[str] | None:
    """One pattern for all of them, to be matched whole; None where there are none."""
    if isinstance(globs, str):
        globs = [globs]
    alternatives = [re.escape(glob).replace(r"\*", ".*") for glob in globs]
    return re.compile("|".join(alternatives), re.DOTALL) if alternatives else None
