"""When an alert fires and when it is over, compared with a slow and obvious decision."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts import KINDS, LATENESS, Condition, Seen, is_firing, last_minute, next_evaluation, value_of
from tests.support import examples

conditions = st.builds(
    Condition,
    kind=st.sampled_from(KINDS),
    minutes=st.integers(1, 6),
    threshold=st.sampled_from([0.5, 5.0, 20.0, 50.0, 100.0]),
    min_requests=st.integers(0, 4),
)
levels = st.lists(st.sampled_from(["fatal", "info"]), max_size=10)
minutes = st.one_of(st.none(), st.integers(0, 8))
latencies = st.one_of(st.sampled_from([0.0, 0.4, 4.0, 5.0, 16.0, 20.0, 40.0, 80.0]), st.floats(0, 200))


@given(conditions, levels, latencies, minutes, st.booleans())
@examples(500)
def test_an_alert_decides_what_a_slow_and_obvious_one_does(condition, records, p95, silent, was_firing):
    seen = Seen(len(records), records.count("fatal"), p95 if records else None, silent)
    assert is_firing(condition, was_firing, value_of(condition, seen)) == slowly(condition, seen, was_firing)


def slowly(condition, seen, was_firing):
    if condition.kind == "silence":
        if seen.silent_minutes is None:
            return was_firing
        return all(any(minute == each for each in range(seen.silent_minutes)) for minute in range(condition.minutes))
    if seen.requests == 0 or seen.requests < condition.min_requests:
        return was_firing
    threshold = Fraction(condition.threshold)
    value = Fraction(seen.fatal, seen.requests) * 100 if condition.kind == "errorRate" else Fraction(seen.p95)
    if value >= threshold:
        return True
    if value < threshold * 4 / 5:
        return False
    return was_firing


RATE = Condition("errorRate", 5, 5.0, 20)


@pytest.mark.parametrize(
    ("requests", "fatal", "from_ok", "from_firing"),
    [
        (0, 0, False, True),
        (19, 19, False, True),
        (20, 0, False, False),
        (100, 3, False, False),
        (100, 4, False, True),
        (1000, 49, False, True),
        (100, 5, True, True),
        (100, 100, True, True),
    ],
)
def test_an_error_rate_fires_at_its_threshold_and_is_over_below_80_per_cent_of_it(
    requests, fatal, from_ok, from_firing
):
    value = value_of(RATE, Seen(requests, fatal))
    assert (is_firing(RATE, False, value), is_firing(RATE, True, value)) == (from_ok, from_firing)


def test_a_value_at_the_edge_does_not_flap():
    firing, changes = False, 0
    for fatal in [4, 5, 4, 5, 4, 6, 4, 5]:
        before, firing = firing, is_firing(RATE, firing, value_of(RATE, Seen(100, fatal)))
        changes += before != firing
    assert changes == 1


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_each_minute_is_evaluated_once_and_only_when_it_is_over(now):
    minute, due = last_minute(now), next_evaluation(now)
    assert now >= datetime.fromtimestamp(minute * 60, UTC) + LATENESS
    assert now < due <= now + timedelta(minutes=1)
    assert last_minute(due) == minute + 1
    assert last_minute(due - timedelta(milliseconds=1)) == minute
