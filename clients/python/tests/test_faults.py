import pytest
from faults import ROWS


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_nothing_arrives_twice_and_what_does_not_arrive_is_counted(row, caplog):
    result = ROWS[row]()
    assert result.twice == 0
    assert result.dropped == result.counted
    assert result.arrived + result.dropped == result.reported
    assert ("queue of" in result.fault) == (result.dropped > 0)
