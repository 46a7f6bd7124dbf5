"""Counting: whatever is added to whatever, no event is lost and none counts twice."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from statistics import median_low
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import digests, policies
from app.digests import (
    MAX_DETAILED_KINDS,
    MAX_DURATION_MILLISECONDS,
    MAX_EXACT_LENGTH,
    MAX_KINDS,
    MAX_PATH_BYTES,
    AlertChange,
    Digest,
    Event,
    Kind,
    KindKey,
    Recovery,
    fold_path,
    loads,
    power_of,
    to_datetime,
    to_milliseconds,
)
from tests.support import examples
from tests.unit.events import NOW, elapsed_times, event, events

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


def test_a_long_path_is_cut_and_still_told_apart_from_others() -> None:
    long_paths = ["/" + "x" * 5000 + str(number) for number in range(100)]
    folded = {fold_path(path) for path in long_paths}
    assert len(folded) == 100
    assert max(len(path.encode()) for path in folded) <= MAX_PATH_BYTES
    assert fold_path("/" + "x" * (MAX_PATH_BYTES - 1)) == "/" + "x" * (MAX_PATH_BYTES - 1)


def test_a_long_host_is_cut() -> None:
    for length, kept in [(99, 99), (100, 100), (101, 100)]:
        (group,) = Digest.of([event(host="h" * length)]).kinds.values()
        assert group.host == "h" * kept


@pytest.mark.parametrize("path", ["/orders/1", "/a/1/b/2", "/", "/" + "é" * 100 + "/1", "/{id}", "/a*b/1"])
def test_a_folded_path_has_a_glob_that_matches_its_paths(path: str) -> None:
    glob = digests.as_glob(digests.fold_path(path))
    assert policies.matches(glob, path)
    assert not policies.matches(glob, "/other" if path != "/{id}" else "other")


def test_a_path_is_folded_before_it_is_cut() -> None:
    assert fold_path("/orders/" + "1" * 500) == "/orders/{id}"


def kind_of(item: Event) -> KindKey:
    return item.method, fold_path(item.path), item.status


def split(items: list[Event], sizes: list[int]) -> list[list[Event]]:
    parts, start = [], 0
    for size in sizes:
        parts.append(items[start : start + size])
        start += size
    return [part for part in [*parts, items[start:]] if part]


def stored(digest: Digest) -> Digest:
    """As it is after it was written and read."""
    read = loads(digest.dumps())
    assert isinstance(read, Digest)
    return read


def added_in_steps(items: list[Event], sizes: list[int]) -> Digest:
    """Each batch is written, read and added to what was written before, as an outbox does with what gathers."""
    gathered = Digest()
    for part in split(items, sizes):
        gathered.add(stored(Digest.of(part)))
        gathered = stored(gathered)
    return gathered


# Few kinds, so that many events are alike, and small parts, so that many are added.
paths = st.sampled_from(["/", "/orders/1", "/orders/2", "/orders/{id}", "/" + "x" * 300, "/" + "x" * 301])
batches = st.lists(events(paths, st.sampled_from([500, 503])), min_size=1, max_size=30) | st.lists(
    events(paths, st.just(500)), min_size=20, max_size=40
)
part_sizes = st.lists(st.integers(1, 10), min_size=1, max_size=8)


def check_counts(gathered: Digest, items: list[Event]) -> None:
    expected = Counter(map(kind_of, items))
    assert gathered.event_count == len(items)
    assert gathered.kind_count == len(expected)
    assert {group.key: group.count for group in gathered.ranked} == expected
    assert [group.count for group in gathered.ranked] == [count for _, count in expected.most_common()]


@examples(150)
@given(batches, part_sizes, st.randoms(use_true_random=False))
def test_counts_are_those_of_a_plain_counter_whatever_the_order_and_the_batches(
    items: list[Event], sizes: list[int], random: Random
) -> None:
    random.shuffle(items)
    check_counts(added_in_steps(items, sizes), items)


@pytest.mark.parametrize("seed", range(20))
def test_counts_of_hundreds_of_kinds_are_those_of_a_plain_counter(seed: int) -> None:
    random = Random(seed)
    kinds = [event(path=f"/{name}/{number}", status=500 + number) for name in "abcdefghij" for number in range(20)]
    weights = [1 / (1 + number) for number in range(len(kinds))]
    items = random.choices(kinds, weights, k=2000)
    sizes = [random.randint(1, 300) for _ in range(12)]
    check_counts(added_in_steps(items, sizes), items)


@examples(150)
@given(batches, part_sizes, st.randoms(use_true_random=False))
def test_each_kind_is_told_rightly_whatever_the_order_and_the_batches(
    items: list[Event], sizes: list[int], random: Random
) -> None:
    by_kind: defaultdict[KindKey, list[Event]] = defaultdict(list)
    for item in items:
        by_kind[kind_of(item)].append(item)
    random.shuffle(items)
    gathered = added_in_steps(items, sizes)
    assert set(gathered.kinds) == set(by_kind)
    for kind, group in gathered.kinds.items():
        alike = by_kind[kind]
        latest = max(item.at for item in alike)
        assert group.key == kind
        assert group.first_at == min(item.at for item in alike)
        assert group.last_at == latest
        assert group.slowest == max(item.elapsed for item in alike)
        assert group.record_id in {item.record_id for item in alike if item.at == latest}
        assert group.durations == Counter(power_of(item.elapsed) for item in alike)
        assert group.host == only(item.host for item in alike)
        path = only(item.path if len(item.path) <= MAX_EXACT_LENGTH else kind[1] for item in alike)
        assert group.exact_path == ("" if path == kind[1] else path)


def only(values: Any) -> str:
    """The one value; empty where there are several."""
    different = set(values)
    return different.pop() if len(different) == 1 else ""


@pytest.mark.parametrize("size", [1, 4, 5])
def test_events_of_more_kinds_than_are_told_apart_are_counted_all_the_same(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(digests, "MAX_KINDS", 5)
    items = [event(status=100 + number % 20) for number in range(100)]
    gathered = added_in_steps(items, [size] * (100 // size))
    assert gathered.event_count == 100
    assert [group.count for group in gathered.ranked] == [5] * 5
    assert gathered.more_events == 75
    assert gathered.kind_count >= 20
    gathered.add(Digest.of([event(status=599)] * 3))
    assert (gathered.event_count, gathered.more_events) == (103, 78)


def test_ten_thousand_kinds_beyond_those_a_message_shows_are_counted_exactly() -> None:
    items = [event(path=f"/kind-{number}") for number in range(10_010)]
    first, second = Digest.of(items[:6000]), Digest.of(items[4000:])
    first.add(second)
    assert MAX_KINDS >= 10_010
    assert (first.kind_count, first.event_count) == (10_010, 12_010)
    assert [group.count for group in first.ranked[1999:2001]] == [2, 1]


def test_what_is_in_no_group_is_added_up() -> None:
    gathered = Digest.of([event()])
    gathered.add(Digest(more_events=7, more_kinds=2))
    gathered.add(Digest(more_events=5, more_kinds=3))
    assert (gathered.event_count, gathered.kind_count) == (13, 6)


def test_a_digest_stays_small_however_many_kinds_long_paths_and_durations_it_has() -> None:
    durations = {str(power): 10**6 for power in range(int(power_of(MAX_DURATION_MILLISECONDS)) + 1)}
    count = sum(durations.values())
    groups = [
        Kind("get", fold_path(f"/k{number}/" + "x" * 5000), 500, NOW, NOW, 1e12, dict(durations), "", count + number)
        for number in range(10_000)
    ]
    full = Digest({group.key: group for group in groups})
    typical = {group.key: group.typical for group in groups}
    written = full.dumps()
    assert len(written) < 5_000_000
    read = loads(written)
    assert isinstance(read, Digest)
    assert read.event_count == 10_000 * count + sum(range(10_000))
    assert {group.key: group.typical for group in read.kinds.values()} == typical
    detailed = [len(group.durations) > 1 for group in read.ranked]
    assert detailed == [True] * MAX_DETAILED_KINDS + [False] * (10_000 - MAX_DETAILED_KINDS)


def old_group(**fields: Any) -> dict[str, Any]:
    """A group as it was stored before hosts were told."""
    return {
        "method": "get",
        "path": "/orders/1",
        "status": 500,
        "first_at": NOW,
        "last_at": NOW,
        "slowest": 12.5,
        "durations": {power_of(12.5): 3},
        "record_id": "old",
        "count": 3,
    } | fields


def test_groups_of_earlier_versions_are_read_and_added_to() -> None:
    parts = {"groups": [old_group(), old_group(status=503)], "more_events": 4, "more_groups": 2}
    old = loads(orjson.dumps(parts).decode())
    assert isinstance(old, Digest)
    old.add(Digest.of([event(path="/orders/2", at=NOW + 5, elapsed=90)]))
    assert (old.event_count, old.kind_count) == (11, 4)
    group = old.kinds["get", "/orders/{id}", 500]
    assert (group.count, group.first_at, group.last_at, group.slowest) == (4, NOW, NOW + 5, 90)
    assert group.exact_path == ""
    assert old.kinds["get", "/orders/{id}", 503].exact_path == "/orders/1"
    assert stored(old) == old
    unfolded = loads(orjson.dumps({"groups": [old_group(path="/orders")], "more_events": 0, "more_groups": 0}).decode())
    assert isinstance(unfolded, Digest)
    assert unfolded.kinds["get", "/orders", 500].exact_path == ""


def test_a_recovery_of_an_earlier_version_is_read() -> None:
    assert loads('{"events":3,"began_at":1,"ended_at":2,"event_count":0}') == Recovery(3, 1, 2)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "7", "[]", "{}", '"groups"', '{"groups":7}', '{"groups":[7]}', '{"groups":[{"host":""}]}']
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_equally_frequent_kinds_stand_in_the_order_they_began() -> None:
    digest = Digest.of(event(status=500 + number, at=NOW - number) for number in range(5))
    assert [group.status for group in digest.ranked] == [504, 503, 502, 501, 500]


def test_no_events_are_nothing() -> None:
    assert Digest.of([]) == Digest()
    assert (Digest().event_count, Digest().kind_count, Digest().ranked) == (0, 0, [])


@examples(100)
@given(st.lists(st.floats(1, MAX_DURATION_MILLISECONDS), min_size=1, max_size=25))
def test_the_typical_time_is_the_median_within_five_percent(elapsed: list[float]) -> None:
    (group,) = Digest.of(event(elapsed=each) for each in elapsed).ranked
    assert group.typical == pytest.approx(median_low(elapsed), rel=0.05)
    assert group.typical <= group.slowest


@examples(100)
@given(st.lists(elapsed_times, min_size=1, max_size=10), st.booleans())
def test_the_typical_time_of_any_times_is_finite_and_no_longer_than_the_slowest(
    elapsed: list[float], is_rare: bool
) -> None:
    (group,) = Digest.of(event(elapsed=each) for each in elapsed).ranked
    typical = group.typical
    if is_rare:
        group = Kind(**group.in_short())
    assert 0 <= group.typical <= group.slowest == max(elapsed)
    assert group.typical == typical


@examples(100)
@given(batches, st.integers(0, 10**15))
def test_a_digest_reads_back_as_it_was_written(items: list[Event], more: int) -> None:
    written = Digest(Digest.of(items).kinds, more_events=more, more_kinds=more // 2)
    assert stored(written) == written
    assert stored(written).event_count == len(items) + more


@given(st.integers(0, 10**15), st.integers(0, 10**13), st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_recovery_reads_back_as_it_was_written(count: int, began_at: int, ended_at: int, noticed_at: int) -> None:
    recovery = Recovery(count, began_at, ended_at, noticed_at)
    assert loads(recovery.dumps()) == recovery
    assert recovery.event_count == 0


@given(st.booleans(), st.floats(0, 1e7), st.one_of(st.none(), st.floats(0, 1e7)), st.integers(0, 10**13))
def test_a_change_of_an_alert_reads_back_as_it_was_written(
    fires: bool, value: float, threshold: float | None, at: int
) -> None:
    change = AlertChange("p95", fires, value, threshold, 5, 10**9, at, None if fires else at // 2)
    assert loads(change.dumps()) == change
    assert change.event_count == 0


@given(st.integers(0, 4_102_444_800_000))
def test_times_survive_being_told_in_milliseconds(milliseconds: int) -> None:
    moment = to_datetime(milliseconds)
    assert moment.tzinfo is UTC
    assert to_milliseconds(moment) == milliseconds


def test_a_time_of_any_zone_is_the_same_instant() -> None:
    moment = datetime(2025, 7, 21, 14, 30, tzinfo=UTC)
    assert to_milliseconds(moment) == 1_753_108_200_000
    assert to_milliseconds(moment.astimezone(timezone(timedelta(hours=-3)))) == 1_753_108_200_000
