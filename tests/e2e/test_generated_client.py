"""A client generated from openapi.json, untouched, drives the whole story."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.marks import on_both_databases
from tools.processes import ROOT, eventually
from tools.story import CHANNEL, PASSWORD, record

pytestmark = [pytest.mark.slow, pytest.mark.spec]

EMAIL = "ana@example.com"
TOOLS = Path(sys.executable).parent


class Api:
    """Calls operations of the generated package by name and checks the status of each answer."""

    def __init__(self, client):
        self.client = client

    def __call__(self, operation, *arguments, status=200, **options):
        module = importlib.import_module(f"generated.api.{operation}")
        answer = module.sync_detailed(*arguments, client=self.client, **options)
        assert answer.status_code == status, answer.content
        return answer.parsed


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """The generated package, importable. Whatever the generator would leave out fails."""
    folder = tmp_path_factory.mktemp("client")
    command = ["openapi-python-client", "generate", "--path", str(ROOT / "openapi.json"), "--meta", "none"]
    done = subprocess.run(
        [str(TOOLS / command[0]), *command[1:], "--output-path", str(folder / "generated"), "--fail-on-warning"],
        env=os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield importlib.import_module("generated")
    sys.path.remove(str(folder))


@pytest.fixture
def models(generated):
    return importlib.import_module("generated.models")


@pytest.fixture
def connect(generated, service):
    """An Api of the service, for whoever holds ``token``."""
    service.serve()
    opened = []

    def connect(token=None):
        url = service.server.url
        client = generated.AuthenticatedClient(url, token) if token else generated.Client(url)
        opened.append(client.__enter__())
        return Api(client)

    yield connect
    for client in opened:
        client.__exit__()


@on_both_databases
def test_a_generated_client_goes_all_the_way(connect, models, discord):
    anybody = connect()
    anybody("users.create_user", body=models.NewUser("Ana", EMAIL, PASSWORD), status=201)
    signed_in = anybody("users.sign_in", body=models.Credentials(EMAIL, PASSWORD))
    ana = connect(signed_in.token)
    assert ana("users.get_user").email == EMAIL

    source = ana(
        "traffic_sources.create_traffic_source",
        body=models.NewTrafficSource("Payments API", "api.payments.com"),
        status=201,
    )
    issued = ana(
        "traffic_sources.create_ingest_token", source.id, body=models.NewIngestToken(name="payments"), status=201
    )
    webhook = ana(
        "webhooks.create_webhook", source.id, body=models.NewWebhook.from_dict(new_webhook("fatal")), status=201
    )
    taken = ana(
        "webhooks.create_webhook", source.id, body=models.NewWebhook.from_dict(new_webhook("fatal")), status=409
    )
    assert (taken.code, taken.status) == (409, "Conflict")
    assert ana("webhooks.test_webhook", webhook.id).ok
    discord.reset()

    payments = connect(issued.token)
    report = models.NewTrafficRecord.from_dict(record(status=503))
    reported = payments("traffic.create_traffic_record", source.id, body=report, status=201)
    payments("traffic.create_traffic_records", source.id, body=[report, report], status=201)
    log = models.IngestLog.from_dict(record(trafficSourceId=source.id))
    payments("traffic.ingest_log", body=log, status=201)

    eventually(lambda: sum(message.events for message in discord.messages) >= 4, "all is told")
    listed = ana("traffic.list_traffic", source.id, level=models.ListTrafficLevel.FATAL)
    assert (len(listed.data), listed.meta.total_items) == (4, 4)
    whole = ana("traffic.get_traffic_record", reported.id)
    assert (whole.status, whole.pathname, whole.domain) == (503, "/orders/123", "https://api.payments.com")
    (domain,) = ana("traffic.list_domains", source.id).data
    assert [path.value for path in ana("traffic.list_pathnames", source.id, domain.id).data] == ["/orders/123"]

    eventually(lambda: ana("webhooks.get_webhook_status", webhook.id).pending == 0, "nothing is owed")
    deliveries = ana("deliveries.list_deliveries", webhook.id, state=models.ListDeliveriesState.DELIVERED).data
    assert sum(delivery.event_count for delivery in deliveries) == 4
    told = len(discord.messages)
    assert ana("deliveries.redeliver", deliveries[0].id, status=202).state == "pending"
    eventually(lambda: len(discord.messages) > told, "it is told again")
    assert ana("deliveries.list_attempts", deliveries[0].id)[0].outcome

    ana("traffic_sources.delete_ingest_token", source.id, issued.id, status=204)
    payments("traffic.ingest_log", body=log, status=401)
    ana("webhooks.delete_webhook", webhook.id, status=204)
    ana("traffic_sources.delete_traffic_source", source.id, status=204)
    ana("traffic_sources.get_traffic_source", source.id, status=404)
    ana("users.sign_out", status=204)
    ana("users.get_user", status=401)
    assert anybody("service.get_health").status == "ok"
    assert anybody("service.get_readiness").status == "ready"


def new_webhook(level):
    return {"type": "discord", "level": level, "value": CHANNEL}
