"""Hosts as network namespaces on one bridge, whose links are cut and healed. Linux, as root.

All interfaces lie in namespaces of this process, so nothing else on the machine sees them.
"""

import ctypes
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUBNET = "10.88.0."
CLONE_NEWNET = 0x40000000
ETHERTYPE_ARP = 0x0806
# No interface has it, so frames to it vanish.
NOWHERE = "02:00:00:00:00:99"


class Network:
    """Namespaces by the name of their host. ``close`` removes them; end their processes before."""

    def __init__(self) -> None:
        self.prefix = f"hosts{os.getpid()}-"
        self.addresses: dict[str, str] = {}
        self._run("netns", "add", self._namespace("bridge"))
        self._in("bridge", "link", "add", "bridge", "type", "bridge")
        self._in("bridge", "link", "set", "bridge", "up")

    def add(self, host: str) -> str:
        """Add a host. Returns its address."""
        self.addresses[host] = address = f"{SUBNET}{len(self.addresses) + 1}"
        self._run("netns", "add", self._namespace(host))
        peer = ("peer", "name", "eth0", "netns", self._namespace(host))
        self._in("bridge", "link", "add", host, "type", "veth", *peer)
        self._in("bridge", "link", "set", host, "master", "bridge", "up")
        self._in(host, "link", "set", "lo", "up")
        self._in(host, "address", "add", f"{address}/24", "dev", "eth0")
        self._in(host, "link", "set", "eth0", "up")
        return address

    def on(self, host: str) -> list[str]:
        """The beginning of a command that runs on ``host``."""
        return ["ip", "netns", "exec", self._namespace(host)]

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two hosts, silently, as a broken switch does."""
        for host, peer in ((one, other), (other, one)):
            where = ("lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")
            self._in(host, "neighbour", "replace", self.addresses[peer], *where)

    def heal(self, one: str, other: str) -> None:
        for host, peer in ((one, other), (other, one)):
            self._in(host, "neighbour", "delete", self.addresses[peer], "dev", "eth0")

    def unplug(self, host: str) -> None:
        """Cut a host from all others."""
        self._in("bridge", "link", "set", host, "down")

    def move_address(self, address: str, to: str) -> None:
        """Add ``address`` to a host, and announce it to all others, as keepalived does."""
        self._in(to, "address", "add", f"{address}/24", "dev", "eth0")
        with self.entered(to), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            mac, packed = raw.getsockname()[4], socket.inet_aton(address)
            frame = struct.pack("!6s6sH", b"\xff" * 6, mac, ETHERTYPE_ARP)
            raw.send(frame + struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, packed, bytes(6), packed))

    @contextmanager
    def entered(self, host: str) -> Iterator[None]:
        """Within the block, this thread opens its sockets on ``host``; so do threads that it starts."""
        with Path("/proc/thread-self/ns/net").open("rb") as before:
            with (Path("/run/netns") / self._namespace(host)).open("rb") as namespace:
                _enter(namespace.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def close(self) -> None:
        for host in [*self.addresses, "bridge"]:
            subprocess.run(["ip", "netns", "delete", self._namespace(host)], capture_output=True, check=False)

    def _namespace(self, host: str) -> str:
        return self.prefix + host

    def _in(self, host: str, *command: str) -> None:
        self._run("-netns", self._namespace(host), *command)

    def _run(self, *command: str) -> None:
        done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"ip {' '.join(command)}: {done.stderr.strip()}")


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")


def lack() -> str:
    """What is missing to make such a network, or an empty text."""
    if not shutil.which("ip"):
        return "there is no command ip (Debian: apt install iproute2)"
    if os.geteuid() or not shutil.which("setpriv"):
        return "network namespaces need root, and PostgreSQL another user by setpriv (Debian: apt install util-linux)"
    try:
        network = Network()
    except OSError as error:
        return f"this process may not make network namespaces ({error})"
    try:
        network.add("probe")
        with network.entered("probe"):
            return ""
    except OSError as error:
        return f"this process may not make network namespaces ({error})"
    finally:
        network.close()
