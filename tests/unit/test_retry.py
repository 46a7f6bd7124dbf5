"""When a message is tried again, and when it is given up."""

from datetime import timedelta
from itertools import accumulate, count, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.retry import LONGEST_PAUSE, NOTICE_DELAYS_SECONDS, next_delay


def delays(jitter: float) -> list[timedelta]:
    """Those after each failure, until there is none."""
    return list(takewhile(lambda delay: delay is not None, (next_delay(attempts, jitter) for attempts in count(1))))


def test_a_short_trouble_is_retried_several_times_within_two_minutes() -> None:
    tries = list(accumulate(delays(jitter=0.5), initial=timedelta(0)))
    assert tries[1] == timedelta(seconds=5)
    assert sum(moment <= timedelta(minutes=2) for moment in tries[1:]) == 4


def test_the_delays_are_those_that_are_documented() -> None:
    minutes = [0.25, 0.5, 1, 2, 5, 10, 20, 30]
    expected = [timedelta(seconds=5), *(timedelta(minutes=each) for each in minutes), *[timedelta(hours=1)] * 22]
    assert delays(jitter=0.5) == expected
    assert delays(jitter=0.0) == [0.8 * delay for delay in expected]
    assert delays(jitter=1.0) == [1.2 * delay for delay in expected]
    assert timedelta(minutes=5) == LONGEST_PAUSE


def test_a_message_is_tried_for_about_a_day() -> None:
    assert timedelta(hours=22) < sum(delays(jitter=0.5), timedelta(0)) < timedelta(hours=26)


def test_a_notice_is_tried_as_often_as_its_destination_may_be_and_as_long_as_a_message() -> None:
    seconds = [next_delay(tries, 0.5, NOTICE_DELAYS_SECONDS) for tries in range(1, len(NOTICE_DELAYS_SECONDS) + 1)]
    assert max(seconds) == LONGEST_PAUSE
    assert timedelta(hours=22) < sum(seconds, timedelta(0)) < timedelta(hours=26)
    assert next_delay(len(seconds) + 1, 0.5, NOTICE_DELAYS_SECONDS) is None


def test_no_delay_is_shorter_than_the_one_before_or_longer_than_an_hour() -> None:
    schedule = delays(jitter=0.5)
    assert schedule == sorted(schedule)
    assert schedule[-1] == timedelta(hours=1)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_after_the_last_try_there_is_none(jitter: float) -> None:
    last = len(delays(jitter)) + 1
    assert next_delay(last - 1, jitter) is not None
    assert next_delay(last, jitter) is None
    assert next_delay(last + 1000, jitter) is None


@given(st.integers(1, 31), st.floats(0, 1))
def test_jitter_spreads_a_delay_by_at_most_a_fifth(attempts: int, jitter: float) -> None:
    usual = next_delay(attempts, 0.5)
    delay = next_delay(attempts, jitter)
    assert usual * 0.799 <= delay <= usual * 1.201


def test_luck_does_spread_the_delays() -> None:
    assert next_delay(1, 0.0) == timedelta(seconds=4)
    assert next_delay(1, 1.0) == timedelta(seconds=6)
