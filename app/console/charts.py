"""Charts of a series as SVG shapes, drawn on the server: they need no script and take the page's colours. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.models.traffic import LEVELS
from app.repositories.series import Step

SLOT, HEIGHT = 10, 120
# What a bar of few among many has at least, so that one failing request is seen.
LEAST = 2.0
# Above the highest value, for the label of the upper edge.
HEADROOM = 1.1


@dataclass(frozen=True)
class Slot:
    """The place of one step, for its figures on hover."""

    x: int
    step: Step

    @property
    def requests(self) -> int:
        return self.step.fatal + self.step.warning + self.step.info


@dataclass(frozen=True)
class Chart:
    """``shapes`` are SVG paths by name, ``top`` the value at the upper edge, ``begins`` and ``ends`` its times."""

    shapes: dict[str, str]
    top: float
    slots: list[Slot]
    begins: datetime
    ends: datetime
    height: int = HEIGHT

    @property
    def width(self) -> int:
        return SLOT * len(self.slots)


def of_levels(series: Sequence[Step]) -> Chart:
    """Requests of each step, stacked, with the most severe at the bottom."""
    top = nice(HEADROOM * max((step.fatal + step.warning + step.info for step in series), default=0))
    shapes: dict[str, list[str]] = {level: [] for level in LEVELS}
    for number, step in enumerate(series):
        base = float(HEIGHT)
        for level in LEVELS:
            count = getattr(step, level)
            if count:
                size = min(max(count / top * HEIGHT, LEAST), base)
                base -= size
                shapes[level].append(f"M{number * SLOT + 1} {base:.1f}h{SLOT - 2}v{size:.1f}h{2 - SLOT}z")
    return _chart({level: "".join(parts) for level, parts in shapes.items()}, top, series)


def of_times(series: Sequence[Step]) -> Chart:
    """The typical and the 95th percentile of the response times, as lines that break where nothing came."""
    top = nice(HEADROOM * max((step.p95 for step in series if step.p95 is not None), default=0.0))
    return _chart({name: _line([getattr(step, name) for step in series], top) for name in ("p95", "p50")}, top, series)


def nice(value: float) -> float:
    """The next round number that is not below ``value``."""
    if value <= 1:
        return 1
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if factor * power >= value)


def _line(values: Sequence[float | None], top: float) -> str:
    parts: list[str] = []
    for number, (before, value, after) in enumerate(zip([None, *values], values, [*values[1:], None], strict=False)):
        if value is not None:
            x, y = (number + 0.5) * SLOT, HEIGHT * (1 - value / top)
            if before is not None:
                parts.append(f"L{x:.1f} {y:.1f}")
            elif after is not None:
                parts.append(f"M{x:.1f} {y:.1f}")
            else:
                # A single point is as wide as its step, to be seen.
                parts.append(f"M{x - SLOT / 2:.1f} {y:.1f}h{SLOT}")
    return "".join(parts)


def _chart(shapes: dict[str, str], top: float, series: Sequence[Step]) -> Chart:
    slots = [Slot(number * SLOT, step) for number, step in enumerate(series)]
    return Chart(shapes, top, slots, series[0].at, series[-1].at)
