"""Writes durations, times, measured values and plurals, as messages and the console show them. Pure."""

import math

HALF_DAY_MILLISECONDS = 12 * 3_600_000


def duration(milliseconds: float) -> str:
    """The duration in at most eight characters, the width of a table's column."""
    if milliseconds < 1000:
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{math.floor(milliseconds + 0.5)} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    if milliseconds < 5_400_000:
        return f"{milliseconds / 60_000:.1f} min"
    return f"{milliseconds / 3_600_000:.1f} h" if milliseconds < 360_000_000 else "> 100 h"


def long_duration(milliseconds: float) -> str:
    """The duration in the largest unit that yields at least two."""
    seconds = round(milliseconds / 1000)
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}s"
    return f"{seconds} {plural(seconds, 'second')}"


def measured(value: float, unit: str) -> str:
    if value >= 1000:  # Percentiles are known within ten per cent.
        return f"{value:,.0f} {unit}"
    number = f"{value:.2f}".rstrip("0").rstrip(".") if value >= 1 else f"{value:.2g}"
    return f"{number} {unit}"


def stamp(milliseconds: int, style: str = "f") -> str:
    return f"<t:{milliseconds // 1000}:{style}>"


def stamp_style(moment: int, other: int) -> str:
    """Discord's timestamp style: the time alone if the other time, less than half a day away, shows the date."""
    return "t" if abs(other - moment) < HALF_DAY_MILLISECONDS else "f"


def plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
