"""The faults of hosts, each under load."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.delivery.dispatcher import LEASE
from tools.faults.neighbours import clock_ahead, no_faketime
from tools.hosts import upgrade
from tools.hosts.postgresql import PRIMARY
from tools.hosts.scene import APIS, DISPATCHERS, OUTSIDE, Hosts
from tools.story import PASSWORD

PARTITION_SECONDS = 20.0
PAST_LEASE_SECONDS = LEASE.total_seconds() + 6
SKEW_SECONDS = 60
SKEWED_FOR_SECONDS = 8.0
# The time that somebody or some program takes to notice that the primary is gone.
UNTIL_PROMOTED_SECONDS = 3.0
API, DISPATCHER = APIS[1], DISPATCHERS[0]


def partition_api(hosts: Hosts) -> None:
    hosts.network.cut(API, PRIMARY)
    time.sleep(PARTITION_SECONDS)
    address = hosts.network.addresses[API]
    (left,) = hosts.pair.primary.execute(f"SELECT count(*) FROM pg_stat_activity WHERE client_addr = '{address}'")
    hosts.network.heal(API, PRIMARY)
    assert not left, f"PostgreSQL kept {left} sessions of a host that it did not hear for {PARTITION_SECONDS:g} s."


def partition_dispatcher(hosts: Hosts) -> None:
    hosts.network.cut(DISPATCHER, PRIMARY)
    time.sleep(PAST_LEASE_SECONDS)
    hosts.network.heal(DISPATCHER, PRIMARY)


def partition_discord(hosts: Hosts) -> None:
    hosts.network.cut(DISPATCHER, OUTSIDE)
    time.sleep(PARTITION_SECONDS)
    hosts.network.heal(DISPATCHER, OUTSIDE)


def kill_api(hosts: Hosts) -> None:
    hosts.hosts[API].kill()
    time.sleep(5)
    hosts.hosts[API].begin()


def kill_dispatcher(hosts: Hosts) -> None:
    hosts.hosts[DISPATCHER].kill()
    time.sleep(PAST_LEASE_SECONDS)
    hosts.hosts[DISPATCHER].begin()


def skew_dispatchers(hosts: Hosts) -> None:
    # Leave the monotonic clock alone: threads wait by it, and faketime does not cover all of its uses.
    skew(hosts, DISPATCHERS, {"FAKETIME_DONT_FAKE_MONOTONIC": "1"})


def skew_apis(hosts: Hosts) -> None:
    skew(hosts, APIS[1:], {}, while_skewed=lambda: sign_in_ahead(hosts))


def skew(
    hosts: Hosts, names: tuple[str, ...], settings: dict[str, str], while_skewed: Callable[[], None] = lambda: None
) -> None:
    """Run one host with its clock ahead, and one with its clock behind."""
    for name, seconds in zip(names, (SKEW_SECONDS, -SKEW_SECONDS), strict=True):
        hosts.hosts[name].restart(**settings, **clock_ahead(seconds))
    time.sleep(SKEWED_FOR_SECONDS)
    while_skewed()
    for name in names:
        hosts.hosts[name].restart()


def sign_in_ahead(hosts: Hosts) -> None:
    """A token made by a host whose clock is ahead is good on the one that is behind."""
    ahead, behind = (hosts.hosts[name] for name in APIS[1:])
    token = ahead.client.sign_in("ana@example.com", PASSWORD).token
    answer = type(behind.client)(behind.client.app, token).get("/user")
    assert answer.status_code == 200, f"A token from a host ahead was answered {answer.status_code}."


def roll_an_upgrade(hosts: Hosts) -> None:
    with ThreadPoolExecutor() as pool:
        migration = pool.submit(upgrade.migrate, hosts.service)
        for host in hosts.hosts.values():
            host.restart()
        migration.result()
    assert upgrade.is_done(hosts.database), "The migration left no column."


def fail_over_by_address(hosts: Hosts) -> None:
    hosts.pair.lose_the_primary()
    time.sleep(UNTIL_PROMOTED_SECONDS)
    hosts.pair.promote()
    hosts.network.move_address(hosts.pair.primary.address, hosts.pair.replica.host)
    until_accepted(hosts)


def fail_over_by_url(hosts: Hosts) -> None:
    hosts.pair.lose_the_primary()
    time.sleep(UNTIL_PROMOTED_SECONDS)
    hosts.pair.promote()
    until_accepted(hosts)


def until_accepted(hosts: Hosts) -> None:
    """Wait until every API host is ready again, and a little longer."""
    hosts.wait_until_ready()
    time.sleep(5)


def nothing() -> str:
    return ""


@dataclass(frozen=True)
class Fault:
    """A fault by name. ``lacks`` returns a missing requirement, or an empty text."""

    name: str
    strike: Callable[[Hosts], None]
    lacks: Callable[[], str] = nothing


# By whether DATABASE_URL names both servers: the faults that share one set of hosts. A failover comes last.
FAULTS = {
    False: [
        Fault(f"an API host cut from PostgreSQL for {PARTITION_SECONDS:.0f} s", partition_api),
        Fault(f"a dispatcher host cut from PostgreSQL for {PAST_LEASE_SECONDS:.0f} s", partition_dispatcher),
        Fault(f"a dispatcher host cut from Discord for {PARTITION_SECONDS:.0f} s", partition_discord),
        Fault("kill -9 of an API host", kill_api),
        Fault("kill -9 of a dispatcher host", kill_dispatcher),
        Fault("clocks of the dispatcher hosts a minute ahead, and a minute behind", skew_dispatchers, no_faketime),
        Fault("clocks of two API hosts a minute ahead, and a minute behind", skew_apis, no_faketime),
        Fault("hosts restarted one by one while a migration runs", roll_an_upgrade),
        Fault("PostgreSQL's host lost, its address moved to the replica", fail_over_by_address),
    ],
    True: [Fault("PostgreSQL's host lost, DATABASE_URL names both", fail_over_by_url)],
}
