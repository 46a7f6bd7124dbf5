"""Counting: whatever is merged with whatever, no event is lost and none counts twice."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from statistics import median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.discord import digest
from app.discord.digest import (
    LONGEST,
    MAX_GROUPS,
    Digest,
    Group,
    Recovery,
    fold_path,
    loads,
    merge,
    power_of,
    to_datetime,
    to_milliseconds,
)
from tests.support import examples
from tests.unit.facts import NOW, elapsed_times, event, events

UUID = "01980000-0000-7000-8000-00000000abcd"


@pytest.mark.parametrize(
    ("path", "folded"),
    [
        ("/", "/"),
        ("/orders", "/orders"),
        ("/orders/", "/orders/"),
        ("/orders/123", "/orders/{id}"),
        ("/orders/123/", "/orders/{id}/"),
        ("/orders/123/items/456", "/orders/{id}/items/{id}"),
        ("/1/2/3", "/{id}/{id}/{id}"),
        ("/0", "/{id}"),
        (f"/users/{UUID}", "/users/{id}"),
        (f"/users/{UUID.upper()}/avatar", "/users/{id}/avatar"),
        ("/files/0123456789abcdef", "/files/{id}"),
        ("/commits/9A13D4B0C0FFEE00C0FFEE00", "/commits/{id}"),
        ("/v1/orders", "/v1/orders"),
        ("/orders-2", "/orders-2"),
        ("/2fa", "/2fa"),
        ("/404.html", "/404.html"),
        ("/9a13d4b", "/9a13d4b"),
        ("/deadbeefdeadbeef", "/deadbeefdeadbeef"),
        ("/orders/{id}", "/orders/{id}"),
        (f"/x{UUID}", f"/x{UUID}"),
        ("/orders/-1", "/orders/-1"),
        ("/orders/1.5", "/orders/1.5"),
        ("/orders/\N{ARABIC-INDIC DIGIT ONE}", "/orders/\N{ARABIC-INDIC DIGIT ONE}"),
        ("/orders/1\n", "/orders/1\n"),
    ],
)
def test_segments_that_only_identify_are_folded(path: str, folded: str) -> None:
    assert fold_path(path) == folded


@examples(150)
@given(st.text("/0129abf-{}id", max_size=60) | st.text())
def test_a_folded_path_stays_as_it_is(path: str) -> None:
    assert fold_path(fold_path(path)) == fold_path(path)


def split(items: list[Group], sizes: list[int]) -> list[list[Group]]:
    parts, start = [], 0
    for size in sizes:
        parts.append(items[start : start + size])
        start += size
    return [part for part in [*parts, items[start:]] if part]


def merge_in_steps(items: list[Group], sizes: list[int]) -> Digest:
    """Merge parts one after another into the first, as an outbox does with what gathers."""
    merged = Digest(())
    for part in split(items, sizes):
        merged = merge([merged, *(Digest((item,)) for item in part)])
    return merged


# Few kinds, so that many events are alike.
paths = st.sampled_from(["/", "/orders/1", "/orders/2", "/orders/{id}"])
batches = st.lists(events(paths, st.sampled_from([500, 503])), min_size=1, max_size=30)
part_sizes = st.lists(st.integers(1, 10), max_size=8)


@examples(150)
@given(batches, part_sizes, st.randoms(use_true_random=False))
def test_each_kind_is_told_rightly_whatever_the_order_and_the_steps(
    items: list[Group], sizes: list[int], random: Random
) -> None:
    by_kind: defaultdict[tuple[str, str, int], list[Group]] = defaultdict(list)
    for item in items:
        by_kind[item.method, fold_path(item.path), item.status].append(item)
    random.shuffle(items)
    merged = merge_in_steps(items, sizes)
    assert {group.kind for group in merged.groups} == set(by_kind)
    assert (merged.more_events, merged.more_groups) == (0, 0)
    for group in merged.groups:
        alike = by_kind[group.kind]
        latest = max(item.last_at for item in alike)
        assert group.count == len(alike)
        assert group.first_at == min(item.first_at for item in alike)
        assert group.last_at == latest
        assert group.slowest == max(item.slowest for item in alike)
        assert group.record_id in {item.record_id for item in alike if item.last_at == latest}
        assert group.durations == Counter(power_of(item.slowest) for item in alike)
        assert group.path == (alike[0].path if len({item.path for item in alike}) == 1 else group.kind[1])


@examples(60)
@given(
    st.lists(st.integers(0, 3 * MAX_GROUPS), min_size=1, max_size=40),
    st.lists(st.integers(1, 60), max_size=6),
    st.randoms(use_true_random=False),
)
def test_no_event_is_lost_among_more_kinds_than_are_kept(often: list[int], sizes: list[int], random: Random) -> None:
    statuses = [100 + kind for kind in range(2 * MAX_GROUPS)] + [100 + kind for kind in often for _ in range(3)]
    items = [event(at=NOW + number, status=status) for number, status in enumerate(statuses)]
    random.shuffle(items)
    merged = merge_in_steps(items, sizes)
    assert merged.event_count == len(items)
    assert len(merged.groups) == MAX_GROUPS
    assert merged.more_events == len(items) - sum(group.count for group in merged.groups)
    counts = [group.count for group in merged.groups]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("kinds", [1, MAX_GROUPS - 1, MAX_GROUPS, MAX_GROUPS + 1, 400])
def test_the_most_frequent_kinds_are_kept_and_the_rest_summed_up(kinds: int) -> None:
    counts = {100 + kind: 1 + kind % 7 for kind in range(kinds)}
    merged = merge(Digest((event(status=status),)) for status, count in counts.items() for _ in range(count))
    assert len(merged.groups) == min(kinds, MAX_GROUPS)
    assert merged.more_groups == max(0, kinds - MAX_GROUPS)
    kept = sorted(counts.values(), reverse=True)[:MAX_GROUPS]
    assert [group.count for group in merged.groups] == kept
    assert all(group.count == counts[group.status] for group in merged.groups)
    assert merged.more_events == sum(counts.values()) - sum(kept)


def test_events_of_more_kinds_than_are_told_apart_are_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "MAX_KINDS", 5)
    merged = merge(Digest((event(status=100 + number % 20),)) for number in range(100))
    assert merged.event_count == 100
    assert [group.count for group in merged.groups] == [5] * 5
    assert merged.more_events == 75


def test_groups_that_were_left_out_stay_counted() -> None:
    storm = merge(Digest((event(status=status),)) for status in range(100, 100 + MAX_GROUPS + 10))
    merged = merge([Digest((storm.groups[0],)), storm])
    assert (merged.event_count, merged.more_events, merged.more_groups) == (MAX_GROUPS + 11, 10, 10)


def test_equally_frequent_groups_stand_in_the_order_they_began() -> None:
    merged = merge(Digest((event(status=500 + number, at=NOW - number),)) for number in range(5))
    assert [group.status for group in merged.groups] == [504, 503, 502, 501, 500]


def test_nothing_merged_is_nothing() -> None:
    assert merge([]) == Digest(())
    assert merge([]).event_count == 0


def test_merging_leaves_what_it_is_given_alone() -> None:
    first, second = Digest((event(elapsed=1),)), Digest((event(elapsed=1, at=NOW + 1),))
    before = first.dumps(), second.dumps()
    assert merge([first, second]).event_count == 2
    assert (first.dumps(), second.dumps()) == before


@examples(100)
@given(st.lists(st.floats(1, LONGEST), min_size=1, max_size=25))
def test_the_typical_time_is_the_median_within_five_percent(elapsed: list[float]) -> None:
    (group,) = merge(Digest((event(elapsed=each),)) for each in elapsed).groups
    assert group.typical == pytest.approx(median_low(elapsed), rel=0.05)
    assert group.typical <= group.slowest


@examples(100)
@given(st.lists(elapsed_times, min_size=1, max_size=10))
def test_the_typical_time_of_any_times_is_finite_and_no_longer_than_the_slowest(elapsed: list[float]) -> None:
    (group,) = merge(Digest((event(elapsed=each),)) for each in elapsed).groups
    assert 0 <= group.typical <= group.slowest == max(elapsed)


@examples(100)
@given(batches.map(lambda items: merge(Digest((item,)) for item in items)), st.integers(0, 10**15))
def test_a_digest_reads_back_as_it_was_written(merged: Digest, more: int) -> None:
    written = Digest(merged.groups, more_events=more, more_groups=more // 2)
    read = loads(written.dumps())
    assert read == written
    assert read.event_count == written.event_count
    assert merge([read, written]) == merge([written, written])


@given(st.integers(0, 10**15), st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_recovery_reads_back_as_it_was_written(events: int, began_at: int, ended_at: int) -> None:
    recovery = Recovery(events, began_at, ended_at)
    assert loads(recovery.dumps()) == recovery
    assert recovery.event_count == 0


@given(st.integers(0, 4_102_444_800_000))
def test_times_survive_being_told_in_milliseconds(milliseconds: int) -> None:
    moment = to_datetime(milliseconds)
    assert moment.tzinfo is UTC
    assert to_milliseconds(moment) == milliseconds


def test_a_time_of_any_zone_is_the_same_instant() -> None:
    moment = datetime(2025, 7, 21, 14, 30, tzinfo=UTC)
    assert to_milliseconds(moment) == 1_753_108_200_000
    assert to_milliseconds(moment.astimezone(timezone(timedelta(hours=-3)))) == 1_753_108_200_000
