"""A person at the console, without a script: follows links, fills in forms, and reads pages."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tools.story import PASSWORD


class Person:
    """A browser with its cookies. ``page`` is the answer that it shows."""

    def __init__(self, app: Flask, **environ: Any) -> None:
        self.client = app.test_client()
        self.environ = environ
        self.page: TestResponse = None

    def get(self, path: str, **options: Any) -> TestResponse:
        self.page = self.client.get(path, **self.environ | options)
        return self.page

    def visit(self, path: str) -> TestResponse:
        """Go to ``path``, and wherever it leads."""
        return self._follow(self.get(path))

    def post(self, path: str, token: str | None = None, **fields: Any) -> TestResponse:
        """Send a form with a CSRF token of this session, and show the answer."""
        if token is None:
            token = self.token()
        self.page = self.client.post(path, data={"csrf_token": token, **fields}, **self.environ)
        return self.page

    def submit(self, path: str, **fields: Any) -> TestResponse:
        """Send a form, and go wherever it leads."""
        return self._follow(self.post(path, **fields))

    def token(self) -> str:
        page = self.client.get("/console/sign-in", **self.environ)
        return re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]

    def sign_in(self, email: str = "ana@example.com", password: str = PASSWORD, **fields: str) -> TestResponse:
        return self.post("/console/sign-in", email=email, password=password, **fields)

    def _follow(self, answer: TestResponse) -> TestResponse:
        while answer.status_code in (302, 303):
            answer = self.get(answer.headers["Location"])
        return answer

    @property
    def cookie(self) -> str | None:
        cookie = self.client.get_cookie("console", path="/console")
        return cookie.value if cookie else None


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text beside them."""

    def __init__(self, page: TestResponse) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def errors_of(page: TestResponse) -> dict[str, str]:
    """The sentences beside fields, by the fields' ids."""
    found = re.findall(r'<p class="error" id="([^"]+)-error">(.*?)</p>', page.text)
    return {name: unescape(text) for name, text in found}


def alert_of(page: TestResponse) -> str:
    """The sentence above a form."""
    return unescape(re.sub("<[^>]+>", "", re.search(r'role="alert">(.*?)</p>', page.text)[1]))


def note_of(page: TestResponse) -> str:
    """What the page tells of what was done."""
    return unescape(re.sub("<[^>]+>", "", re.search(r'<p class="note (?:good|bad)">(.*?)</p>', page.text)[1]))
