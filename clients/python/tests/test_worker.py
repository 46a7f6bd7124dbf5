"""Reports on their way to the service, through everything that can happen to it."""

import gc
import os
import threading
import time

import pytest
from collector import TOKEN, cut, lose_answer, slow, status

from arkyn_reporter import Reporter, lifecycle
from arkyn_reporter.outcome import parse_retry_after


def report(reporter, code=200, path="/", **more):
    reporter.report(status=code, method="GET", url=f"https://api.example.com{path}", elapsed_ms=1, **more)


def report_many(reporter, count, code=200):
    for number in range(count):
        report(reporter, code, f"/{number}")


def waits_for_the_service(reporter, collector):
    """Until the first try has failed."""
    deadline = time.monotonic() + 10
    while not collector.requests and time.monotonic() < deadline:
        time.sleep(0.005)
    assert reporter.counts().delivered == 0


def test_reports_arrive_in_batches(collector):
    reporter = Reporter(collector.dsn)
    report_many(reporter, 2500)
    assert reporter.flush(10)
    assert max(collector.batches) <= 1000
    assert len(collector.batches) <= 10
    assert reporter.counts() == (2500, 2500, 0, 0, 0)
    assert len(collector.records) == 2500


def test_reports_arrive_by_themselves_within_a_second_or_so(collector):
    reporter = Reporter(collector.dsn)
    started = time.monotonic()
    report(reporter)
    report(reporter)
    collector.wait_for(2, 5)
    assert 0.9 < time.monotonic() - started < 3
    assert collector.batches == [2]


def test_a_fatal_one_is_sent_at_once_and_takes_the_others_along(collector):
    reporter = Reporter(collector.dsn)
    report(reporter)
    collector.wait_for(0)
    started = time.monotonic()
    report(reporter, 500)
    collector.wait_for(2, 5)
    assert time.monotonic() - started < 0.7


def test_one_connection_is_kept(collector):
    reporter = Reporter(collector.dsn)
    for _ in range(5):
        report(reporter)
        assert reporter.flush(5)
    assert len(collector.server.open) == 1


def test_a_connection_that_the_service_closed_is_opened_again(collector):
    reporter = Reporter(collector.dsn)
    report(reporter)
    assert reporter.flush(5)
    collector.server.cut()
    report(reporter)
    assert reporter.flush(5)
    assert (len(collector.records), collector.repeated) == (2, 0)


@pytest.mark.parametrize("fault", [cut, lose_answer, status(500), status(503, Retry_After="0"), status(408)])
def test_what_failed_is_tried_again_and_stored_once(collector, fault):
    reporter = Reporter(collector.dsn)
    collector.faults = [fault, fault]
    report_many(reporter, 10)
    collector.wait_for(10)
    assert reporter.flush(5)
    assert len(collector.records) == 10
    assert reporter.counts() == (10, 10, 0, 0, 0)


def test_the_service_says_when_to_come_again(collector):
    reporter = Reporter(collector.dsn)
    collector.faults = [status(429, Retry_After="1")]
    report(reporter, 500)
    waits_for_the_service(reporter, collector)
    assert not reporter.flush(0.3)
    collector.wait_for(1)
    first, second = (request["at"] for request in collector.requests)
    assert 1 <= second - first < 3


def test_both_forms_of_retry_after_are_read():
    assert parse_retry_after("1.5") == 1.5
    assert parse_retry_after("86400") == 600
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert parse_retry_after("Wed, 21 Oct 2099 07:28:00 GMT") == 600
    assert [parse_retry_after(value) for value in (None, "", "soon", "-1", "nan")] == [None] * 5


def test_a_full_queue_drops_and_the_next_batch_says_how_many(collector, caplog):
    reporter = Reporter(collector.dsn, max_queue_bytes=100_000)
    collector.fault = status(503)
    report(reporter, 500)
    waits_for_the_service(reporter, collector)
    report_many(reporter, 1000)
    counts = reporter.counts()
    assert counts.dropped > 500
    assert counts.waiting + counts.dropped == 1001
    collector.fault = None
    assert reporter.flush(10) or reporter.flush(10)
    report(reporter)
    assert reporter.flush(10)
    assert collector.dropped == counts.dropped
    assert len(collector.records) == 1002 - counts.dropped
    assert caplog.text.count("takes no reports") == 1


def test_fatal_ones_find_room_when_others_do_not(collector):
    reporter = Reporter(collector.dsn, max_queue_bytes=100_000)
    collector.fault = status(503)
    report_many(reporter, 1000)
    dropped = reporter.counts().dropped
    report(reporter, 500)
    assert reporter.counts().dropped == dropped > 0


def test_the_queue_is_bounded_in_bytes_and_given_back_whole(collector):
    reporter = Reporter(collector.dsn, max_queue_bytes=100_000)
    for _ in range(20):
        report_many(reporter, 100)
        assert reporter.flush(5)
    assert reporter._worker._queue._bytes == 0
    assert reporter.counts().dropped == 0


def test_the_dropped_are_told_once_though_the_answer_is_lost(collector):
    reporter = Reporter(collector.dsn, max_queue_bytes=20_000)
    collector.fault = status(503)
    report_many(reporter, 100)
    dropped = reporter.counts().dropped
    collector.faults, collector.fault = [lose_answer], None
    reporter.flush(5)
    report(reporter)
    collector.faults = [lose_answer]
    assert reporter.flush(10)
    assert collector.dropped == dropped > 0


def test_a_wrong_token_is_said_once_and_not_tried_again(collector, caplog):
    reporter = Reporter(collector.dsn.replace(TOKEN, "x" + TOKEN))
    for _ in range(3):
        report(reporter)
        assert reporter.flush(5)
    assert len(collector.requests) == 3
    assert caplog.text.count("401") == 1
    assert reporter.counts() == (3, 0, 0, 3, 0)


def test_after_a_refusal_the_service_is_left_alone_for_a_while(collector):
    reporter = Reporter(collector.dsn.replace(TOKEN, "x" + TOKEN))
    report(reporter, 500)
    waits_for_the_service(reporter, collector)
    for _ in range(50):
        report(reporter, 500)
        time.sleep(0.005)
    assert len(collector.requests) == 1


@pytest.mark.parametrize("code", [301, 307, 404, 405])
def test_other_refusals_are_not_tried_again(collector, code):
    reporter = Reporter(collector.dsn)
    collector.faults = [status(code, Location="http://127.0.0.1:1/")]
    report(reporter)
    assert reporter.flush(5)
    report(reporter)
    assert reporter.flush(5)
    assert (len(collector.records), collector.dropped) == (1, 1)


def test_a_stranger_that_answers_200_has_taken_nothing(collector, caplog):
    reporter = Reporter(collector.dsn)
    collector.faults = [lambda handler, body: handler.answer(200, b"<html>Sign in to the Wi-Fi</html>")]
    report(reporter)
    assert reporter.flush(5)
    assert reporter.counts().dropped == 1
    assert "not the service" in caplog.text


def test_rejected_records_are_said_once_and_counted(collector, caplog):
    reporter = Reporter(collector.dsn)
    collector.reject = [299]
    for _ in range(2):
        report(reporter, 299)
        report(reporter, 200)
        assert reporter.flush(5)
    assert reporter.counts() == (4, 2, 2, 0, 0)
    assert caplog.text.count("Must be a status") == 1


def test_a_batch_of_nothing_usable_is_given_up(collector):
    reporter = Reporter(collector.dsn)
    collector.faults = [status(400)]
    report(reporter)
    assert reporter.flush(5)
    assert reporter.counts().rejected == 1


def test_a_batch_that_is_too_large_for_a_proxy_is_halved(collector):
    def small_only(handler, body):
        if len(body) > 1500:
            handler.answer(413, {"code": 413, "message": "Too large."})
        else:
            handler.answer(201, handler.take(body))

    reporter = Reporter(collector.dsn)
    collector.fault = small_only
    report_many(reporter, 200)
    assert reporter.flush(10)
    assert len(collector.records) == 200
    assert reporter.counts() == (200, 200, 0, 0, 0)
    assert reporter._worker._queue._bytes == 0


def test_a_service_that_answers_before_it_has_read_is_understood(collector, caplog):
    def refuse(handler, body):
        handler.answer(401, {"code": 401, "message": "No."})
        handler.close_connection = True

    reporter = Reporter(collector.dsn)
    collector.faults = [refuse]
    report(reporter)
    assert reporter.flush(5)
    assert reporter.counts().dropped == 1


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 201", b"nonsense\r\n\r\n", b"HTTP/1.1 201 x\r\nContent-Length: 50\r\n\r\n{", b"\x00" * 70_000]
)
def test_an_answer_that_is_no_http_is_tried_again(collector, answer):
    def speak(handler, body):
        handler.wfile.write(answer)
        handler.close_connection = True

    reporter = Reporter(collector.dsn)
    collector.faults = [speak]
    report(reporter)
    collector.wait_for(1)


def test_a_slow_service_makes_no_reporter_slow(collector):
    reporter = Reporter(collector.dsn)
    collector.fault = slow(1)
    started = time.monotonic()
    report_many(reporter, 2000, 500)
    assert time.monotonic() - started < 0.9
    assert reporter.flush(10)
    assert len(collector.records) == 2000


def test_a_service_that_hangs_is_left_after_the_timeout(collector):
    reporter = Reporter(collector.dsn, timeout=0.2)
    collector.faults = [slow(1)]
    report(reporter, 500)
    collector.wait_for(1)
    assert reporter.flush(10)
    assert reporter.counts().delivered == 1


def test_flush_is_bounded(collector):
    reporter = Reporter(collector.dsn)
    collector.fault = slow(3)
    report(reporter)
    started = time.monotonic()
    assert not reporter.flush(0.3)
    assert time.monotonic() - started < 1
    assert Reporter(collector.dsn).flush(0)


def test_a_service_that_was_never_there_costs_nothing_but_reports(caplog):
    reporter = Reporter(f"http://{TOKEN}@127.0.0.1:1/source")
    report(reporter, 500)
    assert not reporter.flush(0.2)
    assert reporter.counts().waiting == 1
    assert "ConnectionRefusedError" in caplog.text


def test_many_threads_may_report_at_once(collector):
    reporter = Reporter(collector.dsn)
    threads = [threading.Thread(target=report_many, args=(reporter, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reporter.flush(20)
    assert len(collector.records) == 4000
    assert sum(thread.name == "arkyn-reporter" for thread in threading.enumerate()) >= 1


def test_no_thread_runs_before_there_is_a_report(collector):
    before = threading.active_count()
    reporter = Reporter(collector.dsn)
    assert threading.active_count() == before
    assert reporter.flush(1)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"status": "no number"},
        {"url": "http://[::1"},
        {"elapsed_ms": None},
        {"request_headers": 5},
        {"request_headers": [("a",)]},
        {"occurred_at": "yesterday"},
        {"request_body": object()},
        {"url": None},
    ],
)
def test_a_report_that_cannot_be_used_harms_nobody(collector, arguments):
    reporter = Reporter(collector.dsn)
    reporter.report(**{"status": 200, "method": "GET", "url": "http://a/", "elapsed_ms": 1, **arguments})
    report(reporter)
    assert reporter.flush(5)
    assert 1 <= len(collector.records) <= 2


def test_an_alarm_is_sent_though_its_body_is_no_json_or_too_large(collector):
    reporter = Reporter(collector.dsn)
    report(reporter, 500, request_body={"a": object()})
    report(reporter, 500, response_body="x" * 2_000_000)
    assert reporter.flush(5)
    assert [record["status"] for record in collector.values()] == [500, 500]


def test_a_report_holds_what_was_said(collector):
    reporter = Reporter(collector.dsn, redact=["ssn"])
    report(
        reporter,
        404,
        "/a?ssn=1&b=2",
        request_headers={"Authorization": "secret", "Accept": "x"},
        response_body={"password": "secret", "ok": True},
        occurred_at=1753108200,
        report_id="mine",
    )
    assert reporter.flush(5)
    record = collector.records["mine"]
    assert record["queryParams"] == {"ssn": "[redacted]", "b": "2"}
    assert record["requestHeaders"] == {"authorization": "[redacted]", "accept": "x"}
    assert record["responseBody"] == {"password": "[redacted]", "ok": True}
    assert record["occurredAt"] == 1753108200000


@pytest.mark.parametrize("dsn", [None, "", "nonsense", f"ftp://{TOKEN}@host/id"])
def test_without_a_usable_dsn_a_reporter_says_so_once_and_does_nothing(dsn, caplog, monkeypatch):
    monkeypatch.delenv("ARKYN_DSN", raising=False)
    reporter = Reporter(dsn)
    assert len(caplog.records) == 1
    report(reporter)

    def app(environ, start_response):
        return []

    assert reporter.wsgi(app) is app
    assert reporter.asgi(app) is app
    assert reporter.flush()
    assert reporter.counts() == (0, 0, 0, 0, 0)
    assert len(caplog.records) == 1


def test_the_dsn_may_come_from_the_environment(collector, monkeypatch):
    monkeypatch.setenv("ARKYN_DSN", collector.dsn)
    reporter = Reporter()
    report(reporter)
    assert reporter.flush(5)
    assert TOKEN not in repr(reporter)


def test_a_reporter_that_is_gone_before_its_first_report_leaves_nothing(collector):
    before = len(lifecycle._reporters)
    Reporter(collector.dsn)
    gc.collect()
    assert len(lifecycle._reporters) <= before


def test_a_child_reports_for_itself_and_nothing_of_its_parent(collector):
    reporter = Reporter(collector.dsn)
    report_many(reporter, 5)
    child = os.fork()
    if child == 0:
        ok = reporter.counts() == (0, 0, 0, 0, 0)
        report(reporter, path="/child")
        os._exit(0 if ok and reporter.flush(5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert reporter.flush(5)
    assert len(collector.records) == 6
    assert collector.repeated == 0


def test_a_fork_while_other_threads_report_stops_nobody(collector):
    """Their locks are held at any moment; the child must not wait for them."""
    reporter = Reporter(collector.dsn)
    stop = threading.Event()

    def go_on():
        while not stop.is_set():
            report(reporter)

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            child = os.fork()
            if child == 0:
                report(reporter, path="/child")
                os._exit(0 if reporter.flush(10) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    paths = [record["pathnameUrl"] for record in collector.values()]
    assert paths.count("/child") == 30
    assert collector.repeated == 0
