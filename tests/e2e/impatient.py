"""gunicorn as it is configured, with deadlines and room that a test can wait for."""

from runpy import run_path

globals().update(run_path("gunicorn.conf.py"))

from app.api import deadlines  # noqa: E402

deadlines.BODY_SECONDS = deadlines.ANSWER_SECONDS = 1.0
deadlines.MAX_TOTAL_BODY_BYTES = 1_000_000
