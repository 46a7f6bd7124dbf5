"""PostgreSQL on a host of its own, with a synchronous streaming replica on another."""

import os
import shutil
import signal
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tools.databases import Binaries
from tools.hosts.network import SUBNET, Network
from tools.processes import eventually, kill_group

PRIMARY, REPLICA = "database", "replica"
NAME = "arkyn"
ACCESS = f"host all all {SUBNET}0/24 trust\nhost replication all {SUBNET}0/24 trust\n"


class Server:
    """A PostgreSQL server on ``host``."""

    def __init__(self, network: Network, host: str, folder: Path, binaries: Binaries) -> None:
        self.network = network
        self.host = host
        self.data = folder / host
        self.log = folder / f"{host}.log"
        self.binaries = binaries
        self.process: psutil.Popen | None = None

    @property
    def address(self) -> str:
        return self.network.addresses[self.host]

    def command(self, program: str, *arguments: str) -> list[str]:
        """A program of PostgreSQL, on this host and as its user."""
        user = self.binaries.user
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return [*self.network.on(self.host), *as_user, str(self.binaries.folder / program), *arguments]

    def start(self) -> None:
        options = ("listen_addresses=*", "unix_socket_directories=", "max_connections=300", "hot_standby=on")
        settings = [part for option in options for part in ("-c", option)]
        with self.log.open("ab") as log:
            self.process = psutil.Popen(
                self.command("postgres", "-D", str(self.data), *settings),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._answers, f"PostgreSQL on {self.host} answers")

    def execute(self, command: str, database: str = "postgres") -> Any:
        """The first row of the answer, if there is one."""
        with closing(self._connect(database)) as connection:
            answer = connection.execute(command)
            return answer.fetchone() if answer.description else None

    def kill(self) -> None:
        """Send SIGKILL to the postmaster, whose children then exit by themselves."""
        if self.process:
            children = []
            with suppress(psutil.NoSuchProcess):
                children = self.process.children()
            kill_group(self.process)
            psutil.wait_procs(children, timeout=10)

    def stop(self) -> None:
        """Shut down at once, without a checkpoint."""
        if self.process:
            with suppress(psutil.NoSuchProcess):
                self.process.send_signal(signal.SIGQUIT)
            psutil.wait_procs([self.process], timeout=10)
            self.kill()

    def _connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(host=self.address, user="postgres", dbname=database, autocommit=True, connect_timeout=3)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), closing(self._connect()):
            return True
        return False


class Pair:
    """A primary and its synchronous replica: a commit is acknowledged once both have it."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        binaries = Binaries.initialise(folder / PRIMARY)
        self.primary = Server(network, PRIMARY, folder, binaries)
        self.replica = Server(network, REPLICA, folder, binaries)

    def start(self) -> None:
        with (self.primary.data / "pg_hba.conf").open("a") as file:
            file.write(ACCESS)
        self.primary.start()
        self.primary.execute(f"CREATE DATABASE {NAME}")
        self._copy()
        self.replica.start()
        # The copy is older than this setting, so the replica waits for nobody once it is promoted.
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")
        eventually(self._is_synchronous, "the replica is synchronous")

    def _copy(self) -> None:
        self.replica.data.mkdir(mode=0o700)
        shutil.chown(self.replica.data, self.replica.binaries.user, self.replica.binaries.user)
        source = ("-h", self.primary.address, "-U", "postgres", "--checkpoint=fast", "--write-recovery-conf")
        command = self.replica.command("pg_basebackup", *source, "-D", str(self.replica.data))
        subprocess.run(command, check=True, capture_output=True, cwd=os.sep)

    def _is_synchronous(self) -> bool:
        found = self.primary.execute("SELECT sync_state FROM pg_stat_replication")
        return bool(found and found[0] == "sync")

    def lose_the_primary(self) -> None:
        """Cut it from all hosts, so that no connection is closed, and kill it."""
        self.network.unplug(PRIMARY)
        self.primary.kill()

    def promote(self) -> None:
        self.replica.execute("SELECT pg_promote()")

    def stop(self) -> None:
        self.replica.stop()
        self.primary.stop()
