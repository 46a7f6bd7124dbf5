"""How many messages a policy would have sent."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.policies import Threshold, compile_rule
from app.preview import Preview, Seen, replay

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW, QUIET = timedelta(seconds=5), timedelta(seconds=300)
times = st.lists(st.integers(0, 2_000), max_size=40).map(sorted)


def replayed(*seconds, rules=(), threshold=None, path="/"):
    events = [Seen(NOW + timedelta(seconds=second), "get", path, 500) for second in seconds]
    return replay(events, [compile_rule(rule) for rule in rules], threshold, WINDOW, QUIET)


def test_without_a_policy_the_first_event_is_told_and_those_of_a_window_together():
    assert replayed(0, 1, 2, 5, 11, 30) == Preview(5, 0, 0)


def test_no_event_makes_no_message():
    assert replayed() == Preview(0, 0, 0)


def test_ignored_events_make_no_message():
    assert replayed(0, 10, 20, rules=[{"pathname": "/"}]) == Preview(0, 3, 0)


def test_a_threshold_holds_back_what_does_not_reach_it():
    assert replayed(0, 50, 100, 101, 102, 200, threshold=Threshold(3, 10)) == Preview(2, 0, 2)


def test_the_threshold_counts_anew_after_an_incident():
    assert replayed(0, 1, 400, 800, 801, threshold=Threshold(2, 10)) == Preview(2, 0, 1)


@given(times)
def test_a_threshold_of_one_changes_nothing(seconds):
    assert replayed(*seconds, threshold=Threshold(1, 10)) == replayed(*seconds)


@given(times, st.integers(1, 5), st.integers(1, 100))
def test_a_threshold_never_makes_more_messages(seconds, events, within):
    assert replayed(*seconds, threshold=Threshold(events, within)).messages <= replayed(*seconds).messages
