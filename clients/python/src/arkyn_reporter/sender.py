"""Sends a batch over a connection that is kept open. Redirects are not followed: they would carry the token along."""

from __future__ import annotations

# Looking up an address imports it. A child that is forked while another thread does would wait for it forever.
import encodings.idna  # noqa: F401
import http.client
import socket
import ssl
from typing import NamedTuple

from arkyn_reporter.batch import Batch
from arkyn_reporter.dsn import Dsn
from arkyn_reporter.version import __version__

MAX_ANSWER_BYTES = 1024 * 1024
DROPPED_HEADER = "X-Reports-Dropped"


class Answer(NamedTuple):
    status: int
    retry_after: str | None
    body: bytes


class Sender:
    def __init__(self, dsn: Dsn, timeout: float) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def look_up(self) -> None:
        """Look up the service's address, for what that sets in motion: gevent does it in a thread of its own, which it
        cannot start any more once the interpreter ends. Raises OSError.
        """
        socket.getaddrinfo(self._dsn.host, self._dsn.port or self._dsn.scheme, type=socket.SOCK_STREAM)

    def send(self, batch: Batch) -> Answer:
        """Raises OSError or http.client.HTTPException where no answer came."""
        reused = self._connection is not None
        try:
            return self._exchange(batch)
        except (http.client.RemoteDisconnected, ConnectionError):
            # The service closes idle connections. A repeat does no harm: every record has a reportId.
            if not reused:
                raise
            return self._exchange(batch)

    def _exchange(self, batch: Batch) -> Answer:
        connection = self._connection or self._connect()
        try:
            answer, closes = self._ask(connection, batch)
        except BaseException:
            self.close()
            raise
        if closes:
            self.close()
        return answer

    def _ask(self, connection: http.client.HTTPConnection, batch: Batch) -> tuple[Answer, bool]:
        try:
            connection.request("POST", self._dsn.path, batch.payload, self._headers(batch))
        except (BrokenPipeError, ConnectionResetError):
            # A service that refuses a batch may answer and close before it has read all of it.
            if connection.sock is None:
                raise
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES)
        if response.length and len(body) < MAX_ANSWER_BYTES:
            raise http.client.IncompleteRead(body)
        answer = Answer(response.status, response.getheader("Retry-After"), body)
        return answer, response.will_close or not response.isclosed()

    def _headers(self, batch: Batch) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self._dsn.token}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "User-Agent": f"arkyn-reporter-python/{__version__}",
        }
        if batch.dropped:
            headers[DROPPED_HEADER] = str(batch.dropped)
        return headers

    def _connect(self) -> http.client.HTTPConnection:
        dsn = self._dsn
        if dsn.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(dsn.host, dsn.port, timeout=self._timeout, context=context)
        else:
            self._connection = http.client.HTTPConnection(dsn.host, dsn.port, timeout=self._timeout)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
