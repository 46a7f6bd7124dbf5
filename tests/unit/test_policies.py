"""Policies over plain values, beside slow and obvious ones."""

import fnmatch
import re
from datetime import UTC, datetime, timedelta
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policies import (
    GRACE,
    Held,
    Judgement,
    Threshold,
    compile_rule,
    is_ignored,
    judge,
    matches,
    status_range,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = st.integers(-100, 0)


def obviously_matches(glob: str, text: str) -> bool:
    return bool(re.fullmatch(".*".join(map(re.escape, glob.split("*"))), text, re.DOTALL))


@given(st.text("*/a.%", max_size=8), st.text("/a.b%\n", max_size=12))
def test_a_glob_matches_as_a_regular_expression_would(glob, text):
    assert matches(glob, text) == obviously_matches(glob, text)


def test_a_hostile_glob_takes_no_time():
    began = perf_counter()
    assert not matches("*a" * 5 + "b", "a" * 2000)
    assert perf_counter() - began < 0.1


@given(st.integers(100, 999), st.integers(100, 999))
def test_a_range_of_statuses_holds_both_ends(one, other):
    low, high = sorted((one, other))
    assert status_range(f"{low}-{high}") == (low, high)


@pytest.mark.parametrize(
    "text", ["", "4", "xx", "4XX", "0xx", "99", "1000", "400-", "-400", "403-400", "4xx-5xx", "\u0664xx"]
)
def test_a_status_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="status"):
        status_range(text)


def test_no_rule_ignores_nothing():
    assert not is_ignored([], "get", "/", 500)


@given(st.sampled_from(["get", "post"]), st.sampled_from(["/a", "/b"]), st.integers(100, 999), st.data())
def test_a_rule_ignores_what_meets_each_of_its_conditions(method, path, status, data):
    rule = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "method": st.sampled_from(["get", "post"]),
                "pathname": st.sampled_from(["/a", "*", "/*b"]),
                "status": st.sampled_from(["1xx", "500", "400-599"]),
            },
        ).filter(bool)
    )
    low, high = status_range(rule.get("status", "100-999"))
    meets = [
        rule.get("method", method) == method,
        fnmatch.fnmatchcase(path, rule.get("pathname", path)),
        low <= status <= high,
    ]
    assert is_ignored([compile_rule(rule)], method, path, status) == all(meets)


def obviously_judged(held: list[Held], threshold: Threshold) -> bool:
    """Whether some span of the threshold's length, that ends with an event, holds enough events."""
    span = timedelta(seconds=threshold.seconds)
    return any(
        sum(each.events for each in held if last.at - span <= each.at <= last.at) >= threshold.events for last in held
    )


events = st.lists(st.tuples(SECONDS, st.integers(1, 4)), max_size=12).map(
    lambda given: [Held(NOW + timedelta(seconds=at), number) for at, number in sorted(given)]
)


@given(events, st.integers(1, 10), st.integers(1, 30))
def test_a_threshold_is_reached_where_a_span_holds_enough(held, number, seconds):
    threshold = Threshold(number, seconds)
    assert judge(held, threshold, NOW).is_reached == obviously_judged(held, threshold)


@given(events, st.integers(1, 10), st.integers(1, 30))
def test_what_is_given_up_could_reach_the_threshold_with_nothing_that_is_still_to_come(held, number, seconds):
    threshold = Threshold(number, seconds)
    verdict = judge(held, threshold, NOW)
    given_up = held[: verdict.given_up]
    kept = held[verdict.given_up :]
    if verdict.is_reached:
        assert obviously_judged(kept, threshold)
        assert not obviously_judged(given_up, threshold)
    else:
        assert all(each.at < NOW - timedelta(seconds=seconds) - GRACE for each in given_up)
        assert all(each.at >= NOW - timedelta(seconds=seconds) - GRACE for each in kept)


def test_nothing_gathered_is_no_threshold_reached():
    assert judge([], Threshold(1, 60), NOW) == Judgement(False, 0)
