import pytest

deploy = [pytest.mark.slow, pytest.mark.xdist_group("deploy")]
