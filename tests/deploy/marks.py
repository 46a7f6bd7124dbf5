"""The marks of the tests of what is deployed: slow, and one after the other."""

import pytest

deploy = [pytest.mark.slow, pytest.mark.xdist_group("deploy")]
