"""gunicorn as it is configured, with deadlines and room that a test can wait for."""

from runpy import run_path

globals().update(run_path("gunicorn.conf.py"))

from app.api import clients  # noqa: E402

clients.BODY_SECONDS = clients.ANSWER_SECONDS = 1.0
clients.MAX_BODIES = 1_000_000
