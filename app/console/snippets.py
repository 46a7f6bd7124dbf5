"""What to paste into an application to connect it, as docs/connect*.md have it, with address and token filled in."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult

from app.models import TrafficSource

SAFE_IN_SHELL = re.compile(r"[A-Za-z0-9.:/_-]+")
NO_TOKEN = "ingest_TOKEN"  # noqa: S105 # nosec B105


@dataclass(frozen=True)
class Instruction:
    """A line that says what to do, and what to paste."""

    text: str
    code: str


@dataclass(frozen=True)
class Snippet:
    id: str
    name: str
    steps: list[Instruction]


def snippets(service: SplitResult, source: TrafficSource, token: str | None) -> list[Snippet]:
    """The ways to connect, the simplest first; without a token, with a place for it."""
    token = token or NO_TOKEN
    url = service.geturl()
    dsn = service._replace(netloc=f"{token}@{service.netloc}", path=f"{service.path}/{source.id}").geturl()
    checkout = "where {checkout} is a copy of this service's repository"
    python = Instruction(
        f"In the application's environment, {checkout}",
        f"pip install {{checkout}}/clients/python\nexport ARKYN_DSN='{dsn}'",
    )
    node = Instruction(
        f"In the application's folder, {checkout}", f"npm install {{checkout}}/clients/node\nexport ARKYN_DSN='{dsn}'"
    )
    return [
        Snippet("flask", "Flask", [python, Instruction("Where the application is made", FLASK)]),
        Snippet("django", "Django", [python, Instruction("In wsgi.py", DJANGO)]),
        Snippet("fastapi", "FastAPI", [python, Instruction("Below the last route", FASTAPI)]),
        Snippet("express", "Express", [node, Instruction("Above the routes", EXPRESS)]),
        Snippet(
            "opentelemetry",
            "OpenTelemetry",
            [
                Instruction(
                    "In the environment of an instrumented application, in any language", _opentelemetry(url, token)
                )
            ],
        ),
        Snippet(
            "nginx",
            "nginx",
            [
                Instruction("In the http block of nginx.conf", NGINX),
                Instruction(
                    f"Beside it, to follow the log, {checkout}",
                    f"pip install {{checkout}}/clients/python\nexport ARKYN_DSN='{dsn}'\n{TAIL}",
                ),
            ],
        ),
        Snippet("curl", "curl", [Instruction("In a shell, to report one request", _curl(url, token, source))]),
    ]


FLASK = """\
from arkyn_reporter import Reporter

app.wsgi_app = Reporter().wsgi(app.wsgi_app)"""

DJANGO = """\
from arkyn_reporter import Reporter

application = Reporter().wsgi(get_wsgi_application())"""

FASTAPI = """\
from arkyn_reporter import Reporter

app = Reporter().asgi(app)"""

EXPRESS = """\
const reporter = require('arkyn-reporter');

app.use(reporter());"""

NGINX = """\
log_format arkyn escape=json '{"time":"$msec","status":"$status","method":"$request_method","scheme":"$scheme",'
                             '"host":"$host","uri":"$request_uri","request_time":"$request_time",'
                             '"referer":"$http_referer","user_agent":"$http_user_agent","request_id":"$request_id"}';
access_log /var/log/nginx/access.json.log arkyn;"""

TAIL = "python -m arkyn_reporter tail /var/log/nginx/access.json.log"


def _opentelemetry(url: str, token: str) -> str:
    return f"""\
export OTEL_SERVICE_NAME=shop
export OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={url}/v1/traces
export OTEL_EXPORTER_OTLP_TRACES_HEADERS=Authorization=Bearer%20{token}
export OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf
export OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=gzip
export OTEL_METRICS_EXPORTER=none
export OTEL_LOGS_EXPORTER=none
export OTEL_SEMCONV_STABILITY_OPT_IN=http"""


def _curl(url: str, token: str, source: TrafficSource) -> str:
    given = source.traffic_domain
    domain = given if "://" in given else f"https://{given}"
    if not SAFE_IN_SHELL.fullmatch(domain):
        domain = "https://api.example.com"
    return f"""\
curl -sS {url}/http-traffic-records/{source.id} -H 'Authorization: Bearer {token}' \\
  -H 'Content-Type: application/json' -d '{{
    "domainUrl": "{domain}", "pathnameUrl": "/orders/123", "status": 500, "protocol": "https",
    "method": "post", "elapsedTime": 12.5}}'"""
