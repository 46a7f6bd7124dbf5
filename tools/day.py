"""A day of the shop: an incident, a failing health check, a slow time, scanners, and an hour of silence."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tools import shop
from tools.story import record

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
# Hours of the day: from, to.
SILENT, UNHEALTHY, SLOW, INCIDENT = (3.0, 4.0), (7.2, 7.4), (10.0, 10.75), (14.0, 15.25)
SCANNERS, SCANNED = (1.5, 5.0, 11.3, 14.2, 18.7, 22.1), ("/wp-login.php", "/.env", "/wp-admin/setup.php", "/xmlrpc.php")


def traffic() -> list[dict[str, Any]]:
    """The day's reports, oldest first; the same in each run."""
    end, random = MIDNIGHT + timedelta(days=1), Random(7)
    incident = (round((24 - INCIDENT[0]) * 60), round((24 - INCIDENT[1]) * 60))
    reports = list(shop.requests(end, 24 * 60, a_minute=6, incident=incident))
    for number in range(24 * 60):
        hour = number / 60
        reports.append(_report(hour, "/health", 503 if UNHEALTHY[0] <= hour < UNHEALTHY[1] else 200))
    for hour in SCANNERS:
        reports += [_report(hour + random.random() / 30, random.choice(SCANNED), 404) for _ in range(150)]
    for report in reports:
        if SLOW[0] <= _hour(report) < SLOW[1]:
            report["elapsedTime"] = round(report["elapsedTime"] * 12, 1)
    reports.sort(key=lambda report: report["occurredAt"])
    return [report for report in reports if not SILENT[0] <= _hour(report) < SILENT[1]]


def _report(hour: float, path: str, status: int) -> dict[str, Any]:
    at = (MIDNIGHT + timedelta(hours=hour)).isoformat(timespec="microseconds")
    return record(domainUrl=shop.HOST, pathnameUrl=path, status=status, occurredAt=at)


def _hour(report: dict[str, Any]) -> float:
    return (datetime.fromisoformat(report["occurredAt"]) - MIDNIGHT) / timedelta(hours=1)
