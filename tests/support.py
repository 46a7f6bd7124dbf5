"""Small helps of tests."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


def examples(count: int, sharing: bool = False) -> settings:
    """So many examples of a property, or ``FUZZ_FACTOR`` times as many: `make fuzz` looks longer than `make test`.

    Examples may be ``sharing`` their fixtures where none spoils another.
    """
    return settings(
        max_examples=count * int(os.environ.get("FUZZ_FACTOR", "1")),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture] if sharing else [],
    )
