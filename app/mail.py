"""Sends mail by SMTP, with the standard library. No database."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import NamedTuple

# For each step of the conversation with the server, of which there are about eight.
TIMEOUT_SECONDS = 10.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class MailError(Exception):
    """A mail was not sent. The message shows neither addresses nor what the server said, which may quote them."""


class Server(NamedTuple):
    """An SMTP server; ``is_tls`` from the first byte on, instead of by STARTTLS."""

    host: str
    port: int
    user: str
    password: str
    is_tls: bool


def build(sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    """A mail of ASCII text. Raises ValueError for a line break in a header."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip(">"))
    message["Auto-Submitted"] = "auto-generated"
    # No other encoding, which could break a link over two lines.
    message.set_content(text, cte="7bit")
    return message


def send(server: Server, message: EmailMessage) -> None:
    """Raises MailError."""
    try:
        with _connect(server) as smtp:
            if not server.is_tls and server.host not in LOOPBACK:
                _encrypt(smtp, is_required=bool(server.user))
            if server.user:
                smtp.login(server.user, server.password)
            smtp.send_message(message)
    except smtplib.SMTPResponseException as error:
        raise MailError(f"{type(error).__name__}, code {error.smtp_code}") from None
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise MailError(type(error).__name__) from None


def _connect(server: Server) -> smtplib.SMTP:
    if server.is_tls:
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)


def _encrypt(smtp: smtplib.SMTP, is_required: bool) -> None:
    """Raises SMTPNotSupportedError where a password would have to be sent in plain text."""
    smtp.ehlo_or_helo_if_needed()
    if is_required or smtp.has_extn("starttls"):
        smtp.starttls(context=ssl.create_default_context())
