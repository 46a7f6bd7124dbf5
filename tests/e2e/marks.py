import pytest

e2e = [pytest.mark.slow, pytest.mark.xdist_group("e2e")]
on_both_databases = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
