"""A real SMTP server for tests, which keeps what it receives."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from queue import Queue
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

PASSWORD = "canary-smtp-password"


class Inbox:
    """The mails that came. ``refusal`` is what the next ones are answered, instead of being taken."""

    def __init__(self) -> None:
        self.mails: Queue[EmailMessage] = Queue()
        self.signed_in: list[str] = []
        self.refusal: str | None = None
        self.refused: Queue[str] = Queue()
        self.port = 0

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        if self.refusal:
            self.refused.put(self.refusal)
            return self.refusal
        mail = message_from_bytes(envelope.content, policy=policy.default)
        mail["X-Recipients"] = ",".join(envelope.rcpt_tos)
        self.mails.put(mail)
        return "250 OK"

    def authenticate(self, _server: object, _session: object, _envelope: object, _how: str, given: Any) -> AuthResult:
        self.signed_in.append(given.login.decode())
        return AuthResult(success=given.password == PASSWORD.encode())

    def next(self) -> EmailMessage:
        return self.mails.get(timeout=20)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def smtp_server() -> Iterator[Inbox]:
    inbox = Inbox()
    inbox.port = free_port()
    controller = Controller(
        inbox,
        hostname="127.0.0.1",
        port=inbox.port,
        auth_require_tls=False,
        authenticator=inbox.authenticate,
    )
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()
