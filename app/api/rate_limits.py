"""Rate limits in fixed windows: for sign-ins, sign-ups, test sends, and records per traffic source.

Only failed sign-ins count, per account and address together, so that nobody can lock out an owner at another address.
docs/security.md names what that does not prevent.
"""

import hashlib
import hmac
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar, cast
from urllib.parse import urlsplit

from flask import Flask, current_app, request
from limits import parse_many
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, RateLimiter

from app.errors import InvalidCredentials, TooManyRequests, WrongCurrentPassword
from app.repositories.access import Caller, check_reporter

log = logging.getLogger(__name__)

SETTINGS = (
    "SIGN_IN_ADDRESS_LIMIT",
    "SIGN_IN_ACCOUNT_LIMIT",
    "SIGN_IN_ATTACK_LIMIT",
    "SIGN_UP_ADDRESS_LIMIT",
    "SIGN_UP_ACCOUNT_LIMIT",
    "INGEST_RATE_LIMIT",
)
FIXED = {"TEST_SENDS": "10 per minute", "LINK_ADDRESS_LIMIT": "100 per hour", "LINK_ACCOUNT_LIMIT": "5 per hour"}
# In seconds. A storage that hangs must not hold up requests.
TIMEOUTS: dict[str, dict[str, str | int]] = {
    "redis": {"socket_connect_timeout": 1, "socket_timeout": 1},
    "rediss": {"socket_connect_timeout": 1, "socket_timeout": 1},
    "memcached": {"connect_timeout": 1, "timeout": 1},
}
STORAGE_RETRY_SECONDS = 5.0
ALL = math.inf

T = TypeVar("T")


def init_app(app: Flask) -> None:
    app.extensions["counts"] = Counts(app)


class Counts:
    """Fixed-window counters by setting and key, in RATE_LIMIT_STORAGE.

    While the storage does not answer, this process counts for itself and asks again every STORAGE_RETRY_SECONDS.
    """

    def __init__(self, app: Flask) -> None:
        uri = app.config["RATE_LIMIT_STORAGE"]
        self.limits = {name: parse_many(app.config[name]) for name in SETTINGS if app.config[name]}
        self.limits |= {name: parse_many(limit) for name, limit in FIXED.items()}
        self.storage = storage_from_string(uri, **TIMEOUTS.get(urlsplit(uri)[0], {}))
        self._shared = FixedWindowRateLimiter(self.storage)
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._away_until = 0.0

    def wait(self, setting: str, *key: str, needed: float = 1) -> int:
        """Seconds until ``needed`` more fit, or a whole window's amount if that is smaller; 0 if they fit now."""
        for limit in self.limits[setting]:
            cost = int(min(needed, limit.amount))
            if not self._ask(lambda counts: counts.test(limit, setting, *key, cost=cost)):  # noqa: B023
                stats = self._ask(lambda counts: counts.get_window_stats(limit, setting, *key))  # noqa: B023
                return max(1, math.ceil(stats.reset_time - time.time()))
        return 0

    def add(self, setting: str, *key: str, cost: int = 1) -> None:
        for limit in self.limits[setting]:
            self._ask(lambda counts: counts.hit(limit, setting, *key, cost=cost))  # noqa: B023

    def _ask(self, question: Callable[[RateLimiter], T]) -> T:
        if time.monotonic() >= self._away_until:
            try:
                return question(self._shared)
            except Exception as error:
                log.warning("The storage of rate limits fails (%s): counting in this process.", type(error).__name__)
                self._away_until = time.monotonic() + STORAGE_RETRY_SECONDS
        return question(self._own)


@contextmanager
def password_attempt(email: str) -> Iterator[None]:
    """Wrap a password check: count its failures, and raise TooManyRequests after too many.

    While an account is under attack, one failure per address is too many; its owner can still sign in from an address
    without failures.
    """
    counts, address = _counts(), _address()
    of_account, from_here = _hashed_key(email), _hashed_key(email, address)
    needed = ALL if counts.wait("SIGN_IN_ATTACK_LIMIT", of_account) else 1
    wait = max(
        counts.wait("SIGN_IN_ADDRESS_LIMIT", _hashed_key(address)),
        counts.wait("SIGN_IN_ACCOUNT_LIMIT", from_here, needed=needed),
    )
    if wait:
        raise TooManyRequests(wait, "Too many attempts with a wrong e-mail or password.")
    try:
        yield
    except (InvalidCredentials, WrongCurrentPassword):
        counts.add("SIGN_IN_ADDRESS_LIMIT", _hashed_key(address))
        counts.add("SIGN_IN_ACCOUNT_LIMIT", from_here)
        counts.add("SIGN_IN_ATTACK_LIMIT", of_account)
        raise


def claim_email(email: str) -> None:
    """Count a sign-up, a change of e-mail, or an invitation: its answer reveals whether an account has the e-mail.

    Raises TooManyRequests after too many from this address.
    """
    address = _address()
    keys = {"SIGN_UP_ADDRESS_LIMIT": _hashed_key(address), "SIGN_UP_ACCOUNT_LIMIT": _hashed_key(email, address)}
    _take(keys, "Too many attempts to sign up, to change an e-mail, or to invite somebody.")


def password_link(email: str) -> None:
    """Count a request to mail a link to set a password. Raises TooManyRequests, also for an e-mail without account.

    An owner who is refused because somebody else asked for links to the account has those links in the mail.
    """
    keys = {"LINK_ADDRESS_LIMIT": _hashed_key(_address()), "LINK_ACCOUNT_LIMIT": _hashed_key(email)}
    _take(keys, "Too many links to set a password were asked for.")


def test_send(user_id: str) -> None:
    """Count a test message. Raises TooManyRequests after ten of this user within a minute."""
    _take({"TEST_SENDS": user_id}, "Ten test messages a minute are enough.")


def _take(keys: dict[str, str], refusal: str) -> None:
    counts = _counts()
    if wait := max(counts.wait(setting, key) for setting, key in keys.items()):
        raise TooManyRequests(wait, refusal)
    for setting, key in keys.items():
        counts.add(setting, key)


def reporting(source_id: str, caller: Caller, records: int = 1) -> AbstractContextManager[None]:
    """Wrap the storing of reports: count those stored, and raise TooManyRequests beyond INGEST_RATE_LIMIT.

    A batch larger than the limit takes a whole window. Callers without permission get their own error instead, and do
    not count.
    """
    is_limited = current_app.config["INGEST_RATE_LIMIT"]
    return _reporting(source_id, caller, records) if is_limited else nullcontext()


@contextmanager
def _reporting(source_id: str, caller: Caller, records: int) -> Iterator[None]:
    if wait := _counts().wait("INGEST_RATE_LIMIT", source_id, needed=records):
        check_reporter(caller, source_id)
        raise TooManyRequests(wait, "This traffic source has reached its limit of records.")
    yield
    _counts().add("INGEST_RATE_LIMIT", source_id, cost=records)


def _counts() -> Counts:
    return cast(Counts, current_app.extensions["counts"])


def _hashed_key(*parts: str) -> str:
    """A keyed hash (HMAC), so that the storage reveals neither e-mails nor addresses."""
    secret = current_app.config["JWT_SECRET_KEY"].encode()
    return hmac.new(secret, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:32]


def _address() -> str:
    """The client's IP address; for IPv6 its /64 network, which usually belongs to one client."""
    given = request.remote_addr or ""
    try:
        address = ip_address(given)
        if isinstance(address, IPv6Address):
            return str(address.ipv4_mapped or ip_network((int(address), 64), strict=False))
    except ValueError:
        pass
    return given
