"""The console's figures: incidents in a series, requests by path, charts, and how values are shown."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.console import charts, display, summaries
from app.repositories.recent import Request
from app.repositories.series import Step

BEGIN = datetime(2025, 7, 21, 14, 0, tzinfo=UTC)
MINUTE, QUIET = timedelta(minutes=1), timedelta(minutes=5)


def series(*fatal: int, others: int = 10):
    """A minute for each number of fatal requests."""
    return [Step(BEGIN + number * MINUTE, count, 0, others, 50.0, 200.0) for number, count in enumerate(fatal)]


def incident(*fatal, after=0, before=60):
    """The latest incident in minutes from BEGIN on; ``before`` it, as many minutes are looked at."""
    begin = int(BEGIN.timestamp()) // 60
    failed = {begin + number: count for number, count in enumerate(fatal) if count}
    return summaries.latest_incident(failed, begin - before, BEGIN + (len(fatal) + after) * MINUTE, QUIET)


def test_where_nothing_fails_there_is_no_incident():
    assert incident(0, 0, 0) is None


def test_an_incident_goes_on_until_it_was_quiet_for_a_while():
    going_on = incident(0, 3, 0, 4, 0, 0, 0)
    assert (going_on.since, going_on.last_at) == (BEGIN + MINUTE, BEGIN + 3 * MINUTE)
    assert (going_on.fatal, going_on.is_over) == (7, False)
    assert not incident(0, 3, 0, 4, 0, 0, 0, 0).is_over
    assert incident(0, 3, 0, 4, 0, 0, 0, 0, 0).is_over
    assert incident(0, 3, after=5).is_over


def test_a_longer_pause_parts_two_incidents():
    assert incident(9, 0, 0, 0, 0, 0, 2).since == BEGIN + 6 * MINUTE
    assert incident(9, 0, 0, 0, 0, 2).fatal == 11


def test_an_incident_that_may_have_begun_before_what_is_looked_at_does_not_say_when():
    assert incident(3, 3, 0, before=0).since is None
    assert incident(3, 3, 0, before=5).since is None
    assert incident(3, 3, 0, before=6).since == BEGIN


def test_a_near_time_has_a_date_unless_it_is_today():
    assert "21 Jul, 14:00 UTC</time>" in display.moment(BEGIN, "near")
    assert re.search(r">\d\d:\d\d UTC</time>", display.moment(datetime.now(UTC), "near"))


def test_single_failures_do_not_hide_the_incident_before_them():
    found = incident(0, 3, 3, *[0] * 8, 1, *[0] * 8, 1)
    assert (found.since, found.fatal, found.later) == (BEGIN + MINUTE, 6, 2)
    assert incident(0, 0, 1).fatal == 1


def test_requests_are_gathered_by_method_and_folded_path():
    requests = [Request("get", f"/orders/{number}", "fatal", float(number), 503) for number in range(1, 101)]
    requests += [Request("get", "/", "info", 7.0, 200)]
    orders, root = summaries.by_path(requests)
    assert (orders.path, orders.requests, orders.fatal, orders.p95) == ("/orders/{id}", 100, 100, 95.0)
    assert (root.path, root.fatal, root.p95) == ("/", 0, 7.0)


def test_totals_take_the_latest_p95_there_is():
    empty = Step(BEGIN, 0, 0, 0, None, None)
    found = summaries.totals([*series(1, 0), empty])
    assert (found.requests, found.fatal, found.p95) == (21, 1, 200.0)
    assert found.error_rate == 1 / 21
    assert summaries.totals([empty]).error_rate == 0


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (1.1, 1.5), (7, 8), (60, 60), (66, 80), (1001, 1500)])
def test_the_top_of_a_chart_is_a_round_number(value, top):
    assert charts.nice(value) == top


def test_one_failing_request_among_many_is_seen():
    chart = charts.of_levels(series(1, others=100_000))
    assert "v2.0" in chart.shapes["fatal"]
    assert chart.shapes["warning"] == ""


def test_a_line_breaks_where_nothing_came():
    gap = Step(BEGIN, 0, 0, 0, None, None)
    first, last = series(0, 0)
    assert charts.of_times([first, gap, last]).shapes["p95"].count("M") == 2
    assert charts.of_times([first, last]).shapes["p95"].count("M") == 1


def test_a_single_point_of_a_line_is_as_wide_as_its_step():
    gap = Step(BEGIN, 0, 0, 0, None, None)
    (point,) = series(0)
    assert charts.of_times([gap, point, gap]).shapes["p95"].startswith("M10.0 ")
    assert charts.of_times([gap, point, gap]).shapes["p95"].endswith("h10")


def test_a_chart_of_nothing_is_empty():
    chart = charts.of_levels([Step(BEGIN, 0, 0, 0, None, None)])
    assert set(chart.shapes.values()) == {""}


@pytest.mark.parametrize(("share", "text"), [(0, "0.0 %"), (0.0001, "< 0.1 %"), (0.081, "8.1 %"), (1, "100.0 %")])
def test_a_share_is_told_in_per_cent(share, text):
    assert display.percent(share) == text


def test_a_path_has_its_end_apart_and_is_whole_on_hover():
    whole = "/organisations/1/projects/2/environments/production/log-streams"
    shown = display.path(whole)
    assert f'title="{whole}"' in shown
    assert shown.endswith("<span>uction/log-streams</span></bdi>")
    assert "<span></span>" in display.path("/short")


def test_json_is_indented_and_a_json_string_is_its_text():
    assert display.json_text('{"a":[1]}') == '{\n  "a": [\n    1\n  ]\n}'
    assert display.json_text('"cut {\\n\\tbody"') == "cut {\n    body"
    assert display.json_text("no json") == "no json"
    assert display.json_text('"a\\u202eb"') == "a\N{REPLACEMENT CHARACTER}b"
