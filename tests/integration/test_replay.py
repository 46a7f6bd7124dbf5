"""The replay of a day: it runs, and each event is told, ignored or held back."""

from tools import replay
from tools.day import INCIDENT, SCANNERS, SILENT, SLOW, UNHEALTHY, traffic


def test_the_day_is_the_same_each_time_and_holds_what_it_says():
    reports = traffic()
    assert reports == traffic()
    first = replay.time_of(reports[0])
    hours = [(replay.time_of(report) - first).total_seconds() / 3600 for report in reports]
    assert hours == sorted(hours)

    def during(begin, end, **fields):
        return [
            report
            for at, report in zip(hours, reports, strict=True)
            if begin <= at < end and all(report[name] == value for name, value in fields.items())
        ]

    assert during(*SILENT) == []
    assert len(during(*UNHEALTHY, pathnameUrl="/health", status=503)) > 5
    assert len(during(*INCIDENT, status=503)) > 20
    assert all(len(during(at, at + 0.1, status=404)) >= 150 for at in SCANNERS)
    slow, usual = (sorted(report["elapsedTime"] for report in during(*hours)) for hours in (SLOW, (12, 13)))
    assert slow[len(slow) // 2] > 5 * usual[len(usual) // 2]


def test_of_a_part_of_the_day_every_event_is_told_ignored_or_held_back(app, discord):
    day = traffic()
    begin = replay.time_of(day[0])
    # The last minutes before the incident, its first ones, and a scanner.
    part = [each for each in day if 13.9 <= (replay.time_of(each) - begin).total_seconds() / 3600 < 14.25]
    results = replay.replay(app, discord, part)
    without, policed = results["without"], results["with"]
    events = sum(report["status"] >= 400 for report in part)
    assert (without.accepted, without.told, without.ignored, without.held_back) == (events, events, 0, 0)
    assert policed.told + policed.ignored + policed.held_back == events
    assert policed.ignored == sum(report["status"] == 404 and "." in report["pathnameUrl"] for report in part)
    assert 0 < policed.messages["events"] < without.messages["events"]
    assert (without.pings, policed.pings) == (0, 1)
    assert sum(result.messages.total() for result in results.values()) == len(discord.messages)
    assert f"| told | {without.told:,} | {policed.told:,} |" in replay.table(len(part), results)
