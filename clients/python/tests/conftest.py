import logging
import signal

import pytest
from collector import Collector

# A shell that runs the tests in the background lets them, and with them what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(autouse=True)
def no_token_in_logs(caplog):
    """No line that any test causes may hold the token."""
    caplog.set_level(logging.DEBUG, "arkyn_reporter")
    yield
    assert "never-logged" not in caplog.text
