"""Demo data: an hour of a shop's requests with an incident, for ``make demo`` and the pictures of the console."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tools.story import record

HOST = "https://shop.example.com"
# Method, path, weight and typical milliseconds.
ENDPOINTS = [
    ("get", "/", 14, 38),
    ("get", "/products/{}", 30, 64),
    ("get", "/search", 12, 180),
    ("get", "/carts/{}", 10, 45),
    ("post", "/carts/{}/items", 6, 72),
    ("post", "/checkout", 4, 240),
    ("get", "/orders/{}", 6, 90),
    ("get", "/api/v2/organisations/{}/projects/{}/environments/production/deployments/{}/log-streams", 1, 420),
    ("post", "/sessions", 3, 130),
]
REQUESTS_A_MINUTE = 60
PAUSE_SECONDS = 60 / REQUESTS_A_MINUTE
# The payment provider is away: minutes ago.
INCIDENT = (24, 11)
BROKEN = ("/checkout", "/orders/{}")


def requests(
    now: datetime,
    minutes: int = 60,
    seed: int = 7,
    a_minute: int = REQUESTS_A_MINUTE,
    incident: tuple[int, int] = INCIDENT,
) -> Iterator[dict[str, Any]]:
    """Reports of the ``minutes`` before ``now``, oldest first."""
    random = Random(seed)
    weights = [weight for _, _, weight, _ in ENDPOINTS]
    for number in range(minutes * a_minute):
        ago = minutes - number / a_minute
        is_incident = incident[0] >= ago > incident[1]
        yield _request(random, random.choices(ENDPOINTS, weights)[0], is_incident, now - timedelta(minutes=ago))


def requests_from_now() -> Iterator[dict[str, Any]]:
    """Reports without an end, each of now."""
    random, weights = Random(), [weight for _, _, weight, _ in ENDPOINTS]
    while True:
        yield _request(random, random.choices(ENDPOINTS, weights)[0], False, datetime.now(UTC))


def _request(random: Random, endpoint: tuple[str, str, int, int], is_incident: bool, at: datetime) -> dict[str, Any]:
    method, path, _, typical = endpoint
    is_broken = is_incident and path in BROKEN and random.random() < 0.8
    status = 503 if is_broken else random.choices((200, 404, 422, 500), (960, 30, 9, 1))[0]
    elapsed = random.lognormvariate(0, 0.45) * (4_000 if is_broken else typical)
    address = path.replace("{}", "{:d}").format(*random.choices(range(1_000, 99_999), k=path.count("{}")))
    details: dict[str, Any] = {}
    if is_broken:
        error = {"error": "payment provider did not answer", "provider": "acme-pay", "attempt": 3}
        details = {"responseBody": error, "requestBody": {"cart": random.randrange(10_000), "currency": "EUR"}}
    return record(
        domainUrl=HOST,
        pathnameUrl=address,
        method=method,
        status=status,
        elapsedTime=round(elapsed, 1),
        occurredAt=at.isoformat(),
        trafficUserId=f"customer-{random.randrange(500)}",
        requestHeaders={"accept": "application/json", "user-agent": "Mozilla/5.0", "authorization": "Bearer …"},
        responseHeaders={"content-type": "application/json", "server": "shop/3.4"},
        queryParams={"q": "blue shoes", "page": "2"} if path == "/search" else {},
        **details,
    )
