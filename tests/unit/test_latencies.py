"""Latencies in buckets."""

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.latencies import BOUNDS, add_json, bucket, dumps, percentile
from tests.support import examples

latencies = st.lists(st.floats(0.1, 9_999_999), min_size=1, max_size=200)


@given(latencies, st.sampled_from([1, 50, 95, 100]))
@examples(200)
def test_a_percentile_is_within_ten_per_cent_of_the_latency_of_that_rank(values, percent):
    shown = percentile(Counter(map(bucket, values)), percent)
    exact = sorted(values)[ceil(len(values) * percent / 100) - 1]
    assert shown == pytest.approx(exact, rel=0.1008, abs=0.001)


@given(latencies, latencies)
@examples(50)
def test_counts_of_two_minutes_add_up_to_those_of_both(first, second):
    counts = Counter(map(bucket, first))
    add_json(counts, dumps(Counter(map(bucket, second))))
    assert counts == Counter(map(bucket, first + second))


def test_there_is_no_percentile_of_nothing():
    assert percentile(Counter(), 50) is None


def test_latencies_beyond_the_buckets_count_as_the_last_bound_and_below_them_as_less_than_the_first():
    assert percentile(Counter([bucket(1e300)]), 50) == BOUNDS[-1]
    assert 0 <= percentile(Counter([bucket(0)]), 95) < BOUNDS[0]


def test_a_latency_on_a_bound_lies_above_it():
    assert [bucket(bound) for bound in BOUNDS] == list(range(1, len(BOUNDS) + 1))
