"""The series hold every record once, whatever becomes of records and dispatchers."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from math import ceil
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, text, update

from app.delivery.counting import Counting
from app.digests import level_of
from app.extensions import db
from app.models import SeriesPoint, SeriesPosition, TrafficRecord, TrafficSource
from app.models.columns import utcnow
from app.repositories import purging, series
from tests.integration.helpers import count, is_time, plan_of, refused, write, wrong_fields
from tests.support import examples
from tools.story import UNKNOWN_ID, Client, Story, record

DAY = 86_400
STEP = {"at", "fatal", "warning", "info", "p50", "p95"}


def steps_of(story, **query):
    answer = story.client.get(f"/traffic-sources/{story.source_id}/series", query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def requests_of(story, **query):
    return sum(step[level] for step in steps_of(story, **query) for level in ("fatal", "warning", "info"))


def iso(moment):
    return moment.isoformat(timespec="milliseconds")


@pytest.fixture
def tally(app):
    """One step of a dispatcher's counting, ended by ``end``."""

    def run(counting=None, end="commit"):
        with app.app_context():
            counted = (counting or Counting()).count_series()
            getattr(db.session, end)()
            return counted

    return run


def test_a_step_has_exactly_these_fields_and_begins_on_a_multiple_of_the_step(story):
    story.report(elapsedTime=100)
    steps = steps_of(story, step=300)
    assert all(set(step) == STEP and is_time(step["at"]) for step in steps)
    assert all(datetime.fromisoformat(step["at"]).timestamp() % 300 == 0 for step in steps)
    with_record = [step for step in steps if step["fatal"]]
    assert [(step["fatal"], step["warning"], step["info"]) for step in with_record] == [(1, 0, 0)]
    assert with_record[0]["p50"] == with_record[0]["p95"] == pytest.approx(100, rel=0.1)


def test_a_series_is_the_last_hour_by_minutes_if_nothing_else_is_asked(story, dispatch):
    before = utcnow()
    steps = steps_of(story)
    first, last = (datetime.fromisoformat(step["at"]) for step in (steps[0], steps[-1]))
    assert len(steps) in (60, 61)
    assert first <= before - timedelta(minutes=59) <= before <= last + timedelta(minutes=1)
    dispatch()
    assert steps_of(story)[-1] | {"at": ""} == {"at": "", "fatal": 0, "warning": 0, "info": 0, "p50": None, "p95": None}


def test_times_may_be_iso_8601_or_unix_milliseconds(story):
    start, end = datetime(2026, 11, 1, 10, 0, 30, tzinfo=UTC), datetime(2026, 11, 1, 10, 3, tzinfo=UTC)
    expected = [f"2026-11-01T10:0{minute}:00.000Z" for minute in (0, 1, 2)]
    for form in (iso, lambda moment: int(moment.timestamp() * 1000)):
        answer = steps_of(story, **{"from": form(start), "to": form(end)})
        assert [step["at"] for step in answer] == expected


FROM = {"from": "2026-11-01T00:00:00Z"}
BAD = [
    ({"step": "59"}, "step"),
    ({"step": "0"}, "step"),
    ({"step": "-60"}, "step"),
    ({"step": "90"}, "step"),
    ({"step": "a minute"}, "step"),
    ({"step": str(60 * 10**20)}, "step"),
    ({"from": "yesterday"}, "from"),
    ({"to": "9" * 16}, "to"),
    ({"to": "1969-12-31"}, "to"),
    ({"from": "9999-12-31T23:59:59Z"}, "from"),
    (FROM | {"to": "2026-11-01T00:00:00Z"}, "from"),
    (FROM | {"to": "2026-10-31T00:00:00Z"}, "from"),
    ({"from": "8999-01-01"}, "from"),
    (FROM | {"to": "2026-11-02T01:00:00.001Z"}, "step"),
    (FROM | {"to": "2027-11-01T00:00:00Z", "step": "3600"}, "step"),
]


@pytest.mark.parametrize(("query", "field"), BAD)
def test_a_query_that_cannot_be_is_refused_and_says_what_is_expected(story, query, field):
    answer = story.client.get(f"/traffic-sources/{story.source_id}/series", query_string=query)
    assert wrong_fields(answer, "query") == {field}
    assert "Must be" in answer.text


def test_a_series_has_up_to_1500_steps_and_a_refusal_names_the_step_that_suits(story):
    assert len(steps_of(story, **FROM, to="2026-11-02T01:00:00Z")) == 1500
    query = FROM | {"to": "2026-11-03T00:00:00Z"}
    answer = story.client.get(f"/traffic-sources/{story.source_id}/series", query_string=query)
    assert "Must be 120 or more" in refused(answer, 400)["errors"]["query"]["step"][0]
    assert len(steps_of(story, **query, step=120)) == 1440


def test_only_the_owner_sees_a_series(client, story, bob):
    path = f"/traffic-sources/{story.source_id}/series"
    refused(client.get(path), 400)
    refused(bob.get(path), 403)
    refused(bob.get(f"/traffic-sources/{UNKNOWN_ID}/series"), 404)
    refused(bob.get("/traffic-sources/none/series"), 404)


REPORTS = st.lists(
    st.tuples(
        st.sampled_from([200, 302, 404, 500, 503]),
        st.floats(0.1, 60_000),
        # Minutes before now.
        st.one_of(st.integers(0, 3), st.integers(0, 1_430)),
    ),
    min_size=1,
    max_size=12,
)
DISPATCHERS = st.sampled_from([0, 1])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("report"), REPORTS),
        st.tuples(st.just("count"), DISPATCHERS),
        st.tuples(st.just("crash"), DISPATCHERS),
        st.tuples(st.just("purge"), st.none()),
    ),
    min_size=1,
    max_size=12,
)


@given(ACTS, st.sampled_from([60, 120, 300, 420, 1800, 3600, DAY]))
@examples(25, sharing=True)
def test_a_series_counts_exactly_the_records_that_were_accepted(app, story, tally, monkeypatch, acts, step):
    """Whatever is late, counted by either dispatcher, rolled back or purged."""
    monkeypatch.setattr("app.delivery.counting.BATCH_SIZE", 5)
    now = utcnow()
    mine = Story(story.client, domain=f"{now.timestamp()}.example.com")
    dispatchers = [Counting(), Counting()]
    expected = defaultdict(list)
    for act, of in acts:
        if act == "report":
            times = [now - timedelta(minutes=back) for _, _, back in of]
            mine.report_batch(
                *(
                    record(status=status, elapsedTime=elapsed, occurredAt=iso(at))
                    for (status, elapsed, _), at in zip(of, times, strict=True)
                )
            )
            for (status, elapsed, _), at in zip(of, times, strict=True):
                expected[int(at.timestamp()) // step * step].append((level_of(status), elapsed))
        elif act == "count":
            tally(dispatchers[of])
        elif act == "crash":
            tally(dispatchers[of], end="rollback")
            dispatchers[of] = Counting()
        else:
            with app.app_context():
                purging.purge_records(now + timedelta(minutes=1))
                db.session.commit()
        check(mine, expected, now, step)
    while tally():
        pass
    check(mine, expected, now, step)


def check(story, expected, now, step):
    begin, end = now - timedelta(days=1), now + timedelta(minutes=1)
    for shown in steps_of(story, **{"from": iso(begin), "to": iso(end)}, step=step):
        records = expected.get(int(datetime.fromisoformat(shown["at"]).timestamp()), [])
        levels = [level for level, _ in records]
        assert {level: shown[level] for level in ("fatal", "warning", "info")} == {
            level: levels.count(level) for level in ("fatal", "warning", "info")
        }
        latencies = sorted(elapsed for _, elapsed in records)
        for percent in (50, 95):
            exact = latencies[ceil(len(latencies) * percent / 100) - 1] if latencies else None
            assert shown[f"p{percent}"] == (exact and pytest.approx(exact, rel=0.1008, abs=0.001))


def test_reports_beside_two_dispatchers_and_a_reader_count_once(app, story, tally, monkeypatch):
    monkeypatch.setattr("app.delivery.counting.BATCH_SIZE", 7)
    done = Event()

    def report(number):
        client = Client(app, story.client.token)
        for turn in range(20):
            body: Any
            if turn % 3:
                body, path = record(pathnameUrl=f"/{number}"), ""
            else:
                body, path = [record(pathnameUrl=f"/{number}/{turn}")] * 10, "/batch"
            assert client.post(f"/http-traffic-records/{story.source_id}{path}", body).status_code == 201

    def keep_counting():
        counting = Counting()
        while not done.wait(0.01):
            tally(counting)

    def keep_reading():
        last = 0
        while not done.wait(0.01):
            seen = requests_of(story)
            assert seen >= last
            last = seen

    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(keep_counting), pool.submit(keep_counting), pool.submit(keep_reading)]
        try:
            for reporter in [pool.submit(report, number) for number in range(3)]:
                reporter.result()
        finally:
            done.set()
        for other in others:
            other.result()
    while tally():
        pass
    assert requests_of(story) == 3 * (13 + 7 * 10) == count(app, TrafficRecord)
    assert counted_minutes(app) == 249


def counted_minutes(app):
    """The records that the points of a minute count."""
    with app.app_context():
        every = SeriesPoint.fatal + SeriesPoint.warning + SeriesPoint.info
        return db.session.scalar(select(func.coalesce(func.sum(every), 0)).where(SeriesPoint.span == 1))


COPY = """
    INSERT INTO http_traffic_records (id, created_at, traffic_source_id, pathname_id, status, level, protocol, method,
    elapsed_time, request_id, response_id, request_headers, request_body, query_params, response_headers, response_body)
    SELECT gen_random_uuid(), created_at, traffic_source_id, pathname_id, status, level, protocol, method,
    elapsed_time, request_id, response_id, request_headers, request_body, query_params, response_headers, response_body
    FROM http_traffic_records LIMIT 1
"""


def test_a_record_that_commits_after_younger_ones_is_not_passed_over(app, story, tally):
    """SQLite has one writer."""
    with app.app_context():
        if not db.is_postgresql:
            return
        story.report()
        counting = Counting()
        with db.engine.connect() as slow:
            slow.execute(text(COPY))
            story.report()
            tally(counting)
            tally(counting)
            assert counted_minutes(app) == 0, "counting waits for who might still commit an older record"
            assert requests_of(story) == 2
            slow.commit()
        assert requests_of(story) == 3
        tally(counting)
        tally(counting)
        assert counted_minutes(app) == requests_of(story) == 3


@pytest.mark.parametrize("at", ["_add", "unsynchronized"])
def test_a_dispatcher_that_dies_between_two_statements_counts_nothing(app, story, dispatch, tally, monkeypatch, at):
    story.report()
    with monkeypatch.context() as patched:
        real = getattr(__import__("app.repositories.series_points", fromlist=[at]), at)

        def die(*arguments):
            real(*arguments)
            raise KeyboardInterrupt

        patched.setattr(f"app.repositories.series_points.{at}", die)
        with app.app_context(), pytest.raises(KeyboardInterrupt):
            Counting().count_series()
    assert counted_minutes(app) == 0
    assert requests_of(story) == 1
    dispatch()
    assert counted_minutes(app) == requests_of(story) == 1


def test_a_series_outlives_its_records_and_ends_with_its_own_retention(app, story, dispatch, clock, tally):
    story.report()
    dispatch()
    today = {"from": iso(utcnow() - timedelta(minutes=30)), "to": iso(utcnow() + timedelta(minutes=1))}
    clock.advance(15 * DAY)
    dispatch()
    assert count(app, TrafficRecord) == 0
    assert requests_of(story, **today) == 1
    clock.advance(74 * DAY)
    dispatch()
    assert requests_of(story, **today) == 1
    clock.advance(2 * DAY)
    dispatch()
    assert requests_of(story, **today) == count(app, SeriesPoint) == 0


def test_a_record_is_not_purged_before_it_is_counted(app, story, tally):
    story.report()
    for kept in (1, 0):
        with app.app_context():
            purging.purge_records(utcnow() + timedelta(days=1))
            db.session.commit()
        assert count(app, TrafficRecord) == kept
        tally()
        assert requests_of(story) == 1


def test_the_purge_command_counts_what_it_purges(app, story, monkeypatch):
    story.report()
    monkeypatch.setattr("app.cli.utcnow", lambda: utcnow() + timedelta(days=20))
    assert app.test_cli_runner().invoke(args=["purge"]).exit_code == 0
    assert count(app, TrafficRecord) == 0
    assert requests_of(story) == 1


def test_after_the_newest_record_was_deleted_the_next_ones_count(app, story, dispatch):
    """Their order is above that of all that was counted."""
    story.report()
    dispatch()
    write(app, text("DELETE FROM http_traffic_records"))
    story.report_batch(record(), record())
    assert requests_of(story) == 3
    dispatch()
    assert counted_minutes(app) == requests_of(story) == 3


@pytest.mark.parametrize("is_counted", [True, False])
def test_a_record_that_is_deleted_by_hand_stays_counted_once(story, tally, is_counted):
    record_id = story.report()
    story.report()
    if is_counted:
        tally()
    assert story.client.delete(f"/http-traffic-records/record/{record_id}").status_code == 204
    assert requests_of(story) == 2
    tally()
    assert requests_of(story) == 2


def test_a_deleted_source_leaves_no_points_also_if_it_is_deleted_before_it_is_counted(app, ana, dispatch, tally):
    kept, deleted, early = (Story(ana, domain=f"{name}.example.com") for name in "abc")
    kept.report()
    deleted.report()
    tally()
    early.report()
    for gone in (deleted, early):
        assert ana.delete(f"/traffic-sources/{gone.source_id}").status_code == 204
    tally()
    dispatch()
    assert count(app, TrafficSource) == 1
    with app.app_context():
        assert set(db.session.scalars(select(SeriesPoint.traffic_source_id))) == {kept.source_id}


def test_while_one_dispatcher_counts_the_other_goes_on(app, story, tally):
    with app.app_context():
        if not db.is_postgresql:
            return
        tally()
        story.report()
        Counting().count_series()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(tally).result(timeout=5)
            assert pool.submit(story.report).result(timeout=5)
            assert pool.submit(requests_of, story).result(timeout=5) == 2
        db.session.commit()


MANY = COPY.replace("LIMIT 1", "CROSS JOIN generate_series(1, 20000)")


def test_reading_counting_and_purging_use_indexes(app, story, statements):
    with app.app_context():
        if not db.is_postgresql:
            return
        story.report()
        write(app, text(MANY), text("ANALYZE http_traffic_records"))
        story.report_batch(*[record()] * 30)
        last = select(func.max(TrafficRecord.arrival) - 30).scalar_subquery()
        Counting().count_series()
        db.session.commit()
        write(app, update(SeriesPosition).values(counted_to=last))
        statements.clear()
        now = utcnow()
        series.list_series(story.source_id, now - timedelta(days=90), now, DAY)
        assert Counting().count_series() == 0
        read = [(sql, given) for sql, given in statements if "latencies" in sql and "INSERT" not in sql]
        assert len(read) == 2
        db.session.rollback()
        # Of a table with a few rows, a scan is the better plan, and would be chosen once autovacuum has counted them.
        db.session.execute(text("SET LOCAL enable_seqscan = off"))
        for sql, given in read:
            assert "Seq Scan" not in plan_of(sql, given).replace("Seq Scan on series_position", ""), sql
        assert "ix_http_traffic_records_arrival" in plan_of(*read[0])
