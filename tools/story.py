"""An API client and short forms of a user's usual requests, for tests and tools."""

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

PASSWORD = "canary password"
CHANNEL = "123456789"
WEBHOOK_TOKEN = "canary-webhook_token"
WEBHOOK_URL = f"https://discord.com/api/webhooks/987654321/{WEBHOOK_TOKEN}"
UNKNOWN_ID = "01980000-0000-7000-8000-000000000000"


class Client:
    """An HTTP client of the API, signed in or not. Answers are werkzeug's test responses."""

    def __init__(self, app: Flask, token: str | None = None) -> None:
        self.app = app
        self.token = token

    def request(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.app.test_client().open(path, method=method, headers=headers | options.pop("headers", {}), **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        return self.request("POST", path, json=body, **options)

    def put(self, path: str, body: Any, **options: Any) -> TestResponse:
        return self.request("PUT", path, json=body, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.request("DELETE", path, **options)

    def sign_up(self, email: str, password: str = PASSWORD) -> "Client":
        """Sign up and sign in. Returns the new user's client."""
        created = self.post("/user", {"name": email.partition("@")[0], "email": email, "password": password})
        assert created.status_code == 201, created.text
        return self.sign_in(email, password)

    def sign_in(self, email: str, password: str = PASSWORD) -> "Client":
        answer = self.post("/user/auth", {"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        return Client(self.app, json_of(answer)["token"])

    def create_source(self, domain: str = "api.payments.com", name: str = "Payments API") -> str:
        answer = self.post("/traffic-sources", {"name": name, "trafficDomain": domain})
        assert answer.status_code == 201, answer.text
        return str(json_of(answer)["id"])


class Story:
    """Usual requests for one new traffic source; each asserts success and returns the new id."""

    def __init__(self, client: Client, **source: str) -> None:
        self.client = client
        self.source_id = client.create_source(**source)

    def create_webhook(self, level: str = "fatal", value: str = CHANNEL) -> str:
        answer = self.client.post(f"/webhooks/{self.source_id}", webhook(level=level, value=value))
        assert answer.status_code == 201, answer.text
        return str(json_of(answer)["id"])

    def create_token(self) -> dict[str, str]:
        """Issue an ingest token. Returns it with its ``id`` and ``dsn``."""
        answer = self.client.post(f"/traffic-sources/{self.source_id}/ingest-tokens", {})
        assert answer.status_code == 201, answer.text
        return dict(json_of(answer))

    def create_alert(self, alert: dict[str, Any]) -> str:
        answer = self.client.post(f"/traffic-sources/{self.source_id}/alerts", alert)
        assert answer.status_code == 201, answer.text
        return str(json_of(answer)["id"])

    def report(self, **fields: Any) -> str:
        answer = self.client.post(f"/http-traffic-records/{self.source_id}", record(**fields))
        assert answer.status_code == 201, answer.text
        return str(json_of(answer)["id"])

    def report_batch(self, *records: dict[str, Any]) -> None:
        answer = self.client.post(f"/http-traffic-records/{self.source_id}/batch", list(records))
        assert answer.status_code == 201, answer.text


def json_of(answer: TestResponse) -> Any:
    """The JSON body; ``answer.json`` is typed as optional."""
    return answer.json


def webhook(**fields: Any) -> dict[str, Any]:
    return {"type": "discord", "level": "fatal", "value": CHANNEL, **fields}


def record(**fields: Any) -> dict[str, Any]:
    return {
        "domainUrl": "https://api.payments.com",
        "pathnameUrl": "/orders/123",
        "status": 500,
        "protocol": "https",
        "method": "get",
        "elapsedTime": 12.5,
        "requestHeaders": {"accept": "application/json"},
        "queryParams": {"page": "1"},
        "responseHeaders": {"content-type": "application/json"},
        **fields,
    }
