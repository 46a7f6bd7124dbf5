"""Bad settings stop the start."""

import pytest

from tests.e2e.marks import e2e
from tools.processes import DISPATCH, GUNICORN

pytestmark = e2e

BAD = {
    "PORT": "abc",
    "JWT_SECRET_KEY": "short-secret",
    "ENCRYPTION_KEYS": "short-secret",
    "DATABASE_URL": "mysql://user:secret@host/database",
}


@pytest.mark.parametrize("command", [GUNICORN, DISPATCH], ids=["gunicorn", "dispatch"])
def test_bad_settings_stop_the_start_with_one_line_that_names_each_and_shows_no_secret(service, command):
    done = service.run(command, **BAD)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("Unusable setting: ")
    assert [name for name in BAD if f"{name}: " not in line] == []
    assert "secret" not in line
