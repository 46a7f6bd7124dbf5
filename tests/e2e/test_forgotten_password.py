"""A forgotten password in the real processes, where the thread that mails is a greenlet."""

import re
import socket
import time
from contextlib import closing

from tests.e2e.marks import e2e, on_both_databases
from tests.smtp import smtp_server

pytestmark = e2e

NEW = "another canary password"


def settings(port):
    url = f"smtp://127.0.0.1:{port}"
    return {"SMTP_URL": url, "MAIL_FROM": "traffic@example.com", "PUBLIC_URL": "https://traffic.example.com"}


def forget(service):
    return service.client.post("/user/forgot-password-token/email/ana@example.com")


@on_both_databases
def test_a_mailed_link_sets_a_new_password(service):
    with smtp_server() as inbox:
        service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false", **settings(inbox.port))
        service.client.sign_up("ana@example.com")
        assert forget(service).status_code == 204
        (token,) = re.findall(r"/console/reset-password/([\w-]+)", inbox.next().get_content())
        path = f"/user/change-password-by-token/token/{token}"
        assert service.client.post(path, {"password": NEW}).status_code == 204
        assert service.client.sign_in("ana@example.com", NEW)


def test_a_mail_server_that_hangs_keeps_no_other_request_waiting(service):
    with closing(socket.create_server(("127.0.0.1", 0))) as hanging:
        service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false", **settings(hanging.getsockname()[1]))
        client = service.client.sign_up("ana@example.com")
        assert forget(service).status_code == 204
        connection, _ = hanging.accept()
        with closing(connection):
            began = time.monotonic()
            assert forget(service).status_code == 204
            assert client.get("/user").status_code == 200
            assert time.monotonic() - began < 2
