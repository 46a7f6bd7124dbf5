"""nginx takes the example configuration, and with it stands before the service as it should."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from dataclasses import dataclass

import pytest
import urllib3

from tests.deploy.marks import deploy
from tools.processes import PATIENCE_SECONDS, ROOT, eventually, free_port, kill_group
from tools.story import PASSWORD, Story

# Debian keeps it where only root looks.
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
STRANGER = ("127.0.0.2", 0)
SERVER_NAME = "traffic.example.com"
# The example goes into the http block of a configuration like this one.
AROUND = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {example}
}}
"""

pytestmark = [
    *deploy,
    pytest.mark.skipif(not (NGINX and shutil.which("openssl")), reason="needs nginx and openssl"),
]


@dataclass
class Proxy:
    """nginx before the service, as seen from ``source_address``."""

    folder: str
    port: int
    plain_port: int

    def request(self, method, path, source_address=None, **options):
        with urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            self.port,
            source_address=source_address,
            ca_certs=f"{self.folder}/certificate.pem",
            assert_hostname=SERVER_NAME,
            server_hostname=SERVER_NAME,
            timeout=PATIENCE_SECONDS,
            retries=False,
        ) as pool:
            return pool.request(method, path, headers=options.pop("headers", {}) | {"Host": SERVER_NAME}, **options)

    def connect(self, *protocols):
        """A TLS connection of a client that speaks these."""
        context = ssl.create_default_context(cafile=f"{self.folder}/certificate.pem")
        context.set_alpn_protocols(protocols)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        return context.wrap_socket(plain, server_hostname=SERVER_NAME)


@pytest.fixture
def gunicorn(service):
    return service.serve(TRUSTED_PROXIES="1")


@pytest.fixture
def proxy(gunicorn, service, tmp_path):
    proxy = Proxy(str(tmp_path), free_port(), free_port())
    make_certificate(tmp_path)
    (tmp_path / "nginx.conf").write_text(AROUND.format(example=example(service, proxy)))
    command = [NGINX, "-p", tmp_path, "-e", "stderr", "-c", "nginx.conf"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert checked.returncode == 0, checked.stderr
    nginx = subprocess.Popen(command, start_new_session=True)
    try:
        eventually(lambda: answers(proxy), "nginx answers")
        yield proxy
    finally:
        nginx.terminate()
        nginx.wait(PATIENCE_SECONDS)


def example(service, proxy):
    """The example, but on free ports of this host, and less patient."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for pattern, replacement in {
        r"127\.0\.0\.1:8000": service.server.url.removeprefix("http://"),
        r"listen \[::\]:.*;": "",
        r"listen 80;": f"listen 127.0.0.1:{proxy.plain_port};",
        r"listen 443 ": f"listen 127.0.0.1:{proxy.port} ",
        r"/etc/letsencrypt/live/traffic\.example\.com/fullchain\.pem": "certificate.pem",
        r"/etc/letsencrypt/live/traffic\.example\.com/privkey\.pem": "key.pem",
        r"client_body_timeout 10s": "client_body_timeout 1s",
    }.items():
        text, found = re.subn(pattern, replacement, text)
        assert found, pattern
    return text


def make_certificate(folder):
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout key.pem "
        f"-out certificate.pem -subj /CN={SERVER_NAME} -addext subjectAltName=DNS:{SERVER_NAME}"
    )
    subprocess.run(command.split(), cwd=folder, capture_output=True, timeout=PATIENCE_SECONDS, check=True)


def answers(proxy):
    try:
        return proxy.request("GET", "/healthz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def assert_refused(answer, code):
    """In the form of the service's own errors."""
    assert answer.status == code
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"]
    body = answer.json()
    assert body["code"] == code
    assert body["status"]
    assert body["message"]


def test_nginx_stands_before_the_service(proxy, service, gunicorn):
    story = Story(service.client.sign_up("ana@example.com"))
    signed_in = proxy.request("POST", "/user/auth", json={"email": "ana@example.com", "password": PASSWORD})
    assert signed_in.status == 200
    assert signed_in.headers["Strict-Transport-Security"]
    bearer = {"Authorization": f"Bearer {signed_in.json()['token']}"}

    large = proxy.request("POST", f"/http-traffic-records/{story.source_id}", body=b"x" * 9_000_000, headers=bearer)
    assert "8,388,608 bytes" in large.json()["message"], "the service's own errors pass"
    assert_refused(proxy.request("POST", "/", body=b"x" * (16 * 1024 * 1024 + 1)), 413)
    assert_refused(proxy.request("GET", "/" + "x" * 9_000), 414)
    assert proxy.request("GET", "/metrics").status == 200
    assert_refused(proxy.request("GET", "/metrics", STRANGER), 403)

    plain = urllib3.request(
        "GET", f"http://127.0.0.1:{proxy.plain_port}/docs", headers={"Host": SERVER_NAME}, redirect=False
    )
    assert (plain.status, plain.headers["Location"]) == (308, f"https://{SERVER_NAME}/docs")

    with proxy.connect("h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "h2"

    with proxy.connect("http/1.1") as slow:
        slow.sendall(f"POST / HTTP/1.1\r\nHost: {SERVER_NAME}\r\nContent-Length: 10\r\n\r\nx".encode())
        assert slow.recv(100) == b"", "whoever sends too slowly is cut off"

    kill_group(gunicorn)
    assert_refused(proxy.request("GET", "/healthz"), 502)
