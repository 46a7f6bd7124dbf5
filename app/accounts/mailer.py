"""Mails links to set a new password, in a thread of its own: no request waits for the mail server.

The thread is a greenlet under gevent. Mails that wait for it are lost when the process ends; people can ask again.
"""

import logging
from queue import Full, Queue
from threading import Lock, Thread

from flask import Flask, current_app

from app import mail
from app.accounts.recovery import new_link
from app.errors import Unavailable
from app.extensions import db
from app.repositories import users

log = logging.getLogger(__name__)

MAX_WAITING = 100
SUBJECT = "Your new password"
TEXT = """\
Somebody, perhaps you, asked for a new password of your account at
{address}

This link lets you choose one, once and within an hour:

{link}

If it was not you, ignore this mail: your password stays as it is.
"""


def mail_link(email: str) -> None:
    """Mail a link to the account with this e-mail, if there is one and SMTP_URL is set. Raises Unavailable.

    The sending thread looks the account up, so that neither the answer nor its time shows whether there is one.
    """
    if current_app.config["SMTP_URL"]:
        mailer: Mailer = current_app.extensions["mailer"]
        mailer.put(email)


class Mailer:
    """The addresses that links are to be mailed to, and the one thread of this process that does."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.waiting: Queue[str] = Queue(MAX_WAITING)
        self._lock = Lock()
        self._thread: Thread | None = None

    def put(self, email: str) -> None:
        """Raises Unavailable if too many wait."""
        with self._lock:
            if self._thread is None:
                # Not earlier: gunicorn forks its workers after it imported the application.
                self._thread = Thread(target=self._run, name="mailer", daemon=True)
                self._thread.start()
        try:
            self.waiting.put_nowait(email)
        except Full:
            raise Unavailable("Too many mails wait to be sent. Try again in a minute.") from None

    def _run(self) -> None:
        while True:
            email = self.waiting.get()
            try:
                with self.app.app_context():
                    self._deliver(email)
            except Exception as error:
                # Neither the error nor the log may name the address.
                log.error("A mail with a link to set a password was not sent: %s.", _reason(error))
            finally:
                self.waiting.task_done()

    def _deliver(self, email: str) -> None:
        user = users.get_by_email(email)
        if user is None or not user.email_confirmed:
            return
        link = new_link(user)
        db.session.commit()
        db.session.remove()  # Hold no connection while the mail server answers.
        config = self.app.config
        text = TEXT.format(address=config["PUBLIC_URL"], link=link)
        # To the stored address: the typed one may be different text that the database takes for equal.
        mail.send(config["SMTP_URL"], mail.build(config["MAIL_FROM"], user.email, SUBJECT, text))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, mail.MailError) else type(error).__name__
