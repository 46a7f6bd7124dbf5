"""Mails: what is in them, how the server is spoken to, and what an error tells."""

import socket
from contextlib import closing

import pytest

from app import mail
from app.mail import MailError, Server
from tests.smtp import PASSWORD, free_port, smtp_server

LINK = f"https://traffic.example.com/console/reset-password/{'x' * 200}"


@pytest.fixture
def message():
    return mail.build("Traffic <traffic@example.com>", "ana@example.com", "Your password", f"See\n{LINK}\n")


def at(port, user="", password="", is_tls=False):
    return Server("127.0.0.1", port, user, password, is_tls)


def test_a_mail_arrives_with_its_link_in_one_line(message):
    with smtp_server() as inbox:
        mail.send(at(inbox.port), message)
        came = inbox.next()
    assert came["X-Recipients"] == "ana@example.com"
    assert (came["From"], came["To"]) == ("Traffic <traffic@example.com>", "ana@example.com")
    assert came["Subject"] == "Your password"
    assert came["Message-ID"].endswith("@example.com>")
    assert came["Date"]
    assert LINK in came.get_content().splitlines()


@pytest.mark.parametrize(("password", "is_sent"), [(PASSWORD, True), ("wrong", False)])
def test_a_server_that_wants_a_password_gets_it(message, password, is_sent):
    with smtp_server() as inbox:
        if is_sent:
            mail.send(at(inbox.port, "post", password), message)
            assert inbox.next()
        else:
            with pytest.raises(MailError, match=r"^SMTP[A-Za-z]+(, code 535)?$") as error:
                mail.send(at(inbox.port, "post", password), message)
            assert password not in str(error.value)
    assert set(inbox.signed_in) == {"post"}


def test_a_password_is_never_sent_without_encryption_to_another_host(message, monkeypatch):
    monkeypatch.setattr(mail, "LOOPBACK", ())
    with smtp_server() as inbox:
        with pytest.raises(MailError, match="SMTPNotSupportedError"):
            mail.send(at(inbox.port, "post", PASSWORD), message)
        mail.send(at(inbox.port), message)
        assert inbox.next()


def test_what_a_server_says_is_not_told(message):
    with smtp_server() as inbox:
        inbox.refusal = "550 No such user: ana@example.com"
        with pytest.raises(MailError) as error:
            mail.send(at(inbox.port), message)
    assert str(error.value) == "SMTPDataError, code 550"


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_server_that_hangs_is_given_up(message, monkeypatch, is_tls):
    monkeypatch.setattr(mail, "TIMEOUT_SECONDS", 0.1)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listening,
        pytest.raises(MailError, match=r"TimeoutError|SMTPServerDisconnected"),
    ):
        mail.send(at(listening.getsockname()[1], is_tls=is_tls), message)


def test_a_server_that_is_not_there_is_told(message):
    with pytest.raises(MailError, match="ConnectionRefusedError"):
        mail.send(at(free_port()), message)


@pytest.mark.parametrize("recipient", ["ana@example.com\nBcc: eve@example.com", "ana@example.com\r\n\r\nhello"])
def test_no_recipient_adds_a_header(recipient):
    with pytest.raises(ValueError, match="Header"):
        mail.build("traffic@example.com", recipient, "Subject", "Text")
