"""The marks of the tests with real processes, and the programs that some of them need."""

import os
import shutil

import pytest

e2e = [pytest.mark.slow, pytest.mark.xdist_group("e2e")]
on_both_databases = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def need_node(what: str) -> None:
    """Skip where Node.js is missing, saying that ``what`` is not tested; fail in continuous integration."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        reason = f"{what} is NOT tested here: {' and '.join(missing)} not found."
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
