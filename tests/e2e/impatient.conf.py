"""gunicorn as it is configured, with deadlines and room that a test can wait for."""

from runpy import run_path

import gunicorn_worker

gunicorn_worker.REQUEST_SECONDS = gunicorn_worker.ANSWER_SECONDS = 1.0
gunicorn_worker.MAX_GATHERED = 1_000_000
globals().update(run_path("gunicorn.conf.py"))
