"""The tail command as users start it, killed, starved and rotated under: nothing twice, nothing missed."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from collector import cut, lose_answer, status

SOURCES = str(Path(__file__).parent.parent / "src")


def line(number: int, code: int = 200) -> str:
    fields = {"time": time.time(), "status": code, "method": "GET", "host": "api.example.com", "uri": f"/n/{number}"}
    return json.dumps(fields) + "\n"


class Writer:
    """A server that writes its log, and counts what it wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.open()

    def open(self) -> None:
        self.file = self.path.open("a")

    def write(self, count: int) -> None:
        for _ in range(count):
            self.file.write(line(self.count))
            self.count += 1
        self.file.flush()


def numbers(records) -> list[int]:
    return sorted(int(record["pathnameUrl"].rpartition("/")[2]) for record in records)


@pytest.fixture
def tail(collector, tmp_path):
    started = []

    def start(*arguments: str, log: str = "access.log") -> subprocess.Popen:
        command = [sys.executable, "-m", "arkyn_reporter", "tail", str(tmp_path / log)]
        command += ["--state", str(tmp_path / "state" / "tail.json"), *arguments]
        environment = {**os.environ, "PYTHONPATH": SOURCES, "ARKYN_DSN": collector.dsn}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        assert "never-logged" not in process.communicate(timeout=10)[1]


@pytest.fixture
def writer(tmp_path):
    writer = Writer(tmp_path / "access.log")
    yield writer
    writer.file.close()


def wait_until(condition, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.wait(timeout=10)


def test_lines_are_reported_as_they_come(collector, tail, writer):
    tail("--from", "start")
    writer.write(3)
    collector.wait_for(3)
    writer.write(2)
    assert numbers(collector.wait_for(5)) == [0, 1, 2, 3, 4]


def test_an_old_log_is_read_from_the_end_unless_asked_otherwise(collector, tail, writer, tmp_path):
    writer.write(1500)
    process = tail()
    wait_until((tmp_path / "state" / "tail.json").exists)
    writer.write(1)
    assert numbers(collector.wait_for(1)) == [1500]
    process.terminate()
    assert process.wait(timeout=10) == 0


def test_a_log_can_be_read_once(collector, tail, writer, tmp_path):
    writer.write(2500)
    writer.file.write("no access line\n")
    writer.file.write("x" * 3_000_000 + "\n" + "\n" * 2_000_000)
    writer.write(1)
    process = tail("--from", "start", "--no-follow")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert numbers(collector.values()) == list(range(2501))
    assert "2,501 lines delivered, 0 rejected by the service, 2 were no access log lines." in errors
    assert errors.count("no access log lines, first at byte") == 1


def test_a_log_to_be_read_once_that_is_not_there_is_an_error(tail, writer):
    writer.path.unlink()
    process = tail("--no-follow")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors == f"There is no such file: {writer.path}.\n"


def test_nothing_is_reported_twice_or_missed_however_often_the_command_is_killed(collector, tail, writer):
    for round_ in range(8):
        process = tail("--from", "start")
        collector.faults = [lose_answer if round_ % 2 else status(503), cut]
        writer.write(400)
        expected = round_ * 200
        wait_until(lambda expected=expected: len(collector.records) > expected)
        kill(process)
    tail()
    records = collector.wait_for(3200)
    assert numbers(records) == list(range(3200))


def test_what_was_accepted_but_not_noted_is_recognised(collector, tail, writer, tmp_path):
    state = tmp_path / "state" / "tail.json"
    process = tail("--from", "start")
    wait_until(state.exists)
    kept = state.read_text()
    writer.write(100)
    collector.wait_for(100)
    wait_until(lambda: '"offset"' in state.read_text())
    kill(process)
    state.write_text(kept)
    tail("--from", "start")
    wait_until(lambda: collector.repeated == 100)
    assert numbers(collector.values()) == list(range(100))


def test_a_service_that_is_down_makes_lines_wait_in_their_file(collector, tail, writer):
    collector.fault = status(503)
    tail("--from", "start")
    writer.write(3000)
    wait_until(lambda: len(collector.requests) >= 2)
    collector.fault = None
    assert numbers(collector.wait_for(3000)) == list(range(3000))


def test_rotation_by_rename_loses_nothing(collector, tail, writer, tmp_path):
    tail("--from", "start")
    wait_until((tmp_path / "state" / "tail.json").exists)
    for number in range(3):
        writer.write(50)
        for old in range(number, 0, -1):
            writer.path.with_name(f"access.log.{old}").rename(writer.path.with_name(f"access.log.{old + 1}"))
        writer.path.rename(writer.path.with_name("access.log.1"))
        writer.write(25)  # The server goes on writing to the renamed file.
        late, writer.file = writer.file, writer.path.open("a")
        writer.write(25)
        late.write(line(writer.count))
        late.close()
        writer.count += 1
        collector.wait_for(min(writer.count, 101 * (number + 1)))
    assert numbers(collector.wait_for(303)) == list(range(303))


def test_rotation_by_copy_and_truncation_loses_nothing(collector, tail, writer, tmp_path):
    tail("--from", "start")
    wait_until((tmp_path / "state" / "tail.json").exists)
    for number in range(3):
        collector.fault = status(503) if number else None
        writer.write(1100)
        shutil.copyfile(writer.path, writer.path.with_name("access.log.1"))
        os.truncate(writer.path, 0)
        writer.write(1100)  # It is longer than before at once.
        collector.fault = None
        collector.wait_for(writer.count)
    assert numbers(collector.values()) == list(range(6600))


def test_rotations_while_the_service_is_down_lose_nothing(collector, tail, writer):
    tail("--from", "start")
    writer.write(10)
    collector.wait_for(10)
    collector.fault = status(503)
    writer.write(10)
    wait_until(lambda: len(collector.requests) >= 2)
    for number in (4, 3, 2, 1):
        writer.write(10)
        rotated = writer.path.with_name(f"access.log.{number}")
        if number % 2:
            writer.path.rename(rotated)
            writer.file.close()
            writer.open()
        else:
            shutil.copyfile(writer.path, rotated)
            os.truncate(writer.path, 0)
    writer.write(10)
    collector.fault = None
    assert numbers(collector.wait_for(70)) == list(range(70))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("by", ["rename", "copy"])
def test_rotations_while_the_command_is_not_running_lose_nothing(collector, tail, writer, by, compressed):
    process = tail("--from", "start")
    writer.write(100)
    collector.wait_for(100)
    kill(process)
    for number in (3, 2, 1):
        writer.write(100)
        rotated = writer.path.with_name(f"access.log.{number}")
        if by == "rename":
            writer.path.rename(rotated)
            writer.file.close()
            writer.open()
        else:
            shutil.copyfile(writer.path, rotated)
            os.truncate(writer.path, 0)
        if compressed:
            with gzip.open(f"{rotated}.gz", "wb") as packed:
                packed.write(rotated.read_bytes())
            rotated.unlink()
    writer.write(100)
    tail()
    assert numbers(collector.wait_for(500)) == list(range(500))


def test_a_log_that_appears_later_is_read_from_its_start(collector, tail, tmp_path):
    tail()
    wait_until((tmp_path / "state" / "tail.json").exists)
    writer = Writer(tmp_path / "access.log")
    writer.write(10)
    writer.file.close()
    assert numbers(collector.wait_for(10)) == list(range(10))


def test_half_a_line_waits_for_its_other_half(collector, tail, writer):
    tail("--from", "start")
    writer.write(1)
    collector.wait_for(1)
    whole = line(1)
    writer.file.write(whole[:20])
    writer.file.flush()
    time.sleep(0.7)
    writer.file.write(whole[20:])
    writer.file.flush()
    assert numbers(collector.wait_for(2)) == [0, 1]


def test_two_commands_cannot_share_a_state_file(collector, tail, writer, tmp_path):
    tail()
    wait_until((tmp_path / "state" / "tail.json").exists)
    second = tail()
    _, errors = second.communicate(timeout=10)
    assert second.returncode == 2
    assert "another process uses it" in errors


def test_a_refused_token_is_said_once_and_names_no_token(collector, writer, tmp_path):
    writer.write(1)
    environment = {**os.environ, "PYTHONPATH": SOURCES, "ARKYN_DSN": collector.dsn.replace("test-token", "other")}
    command = [sys.executable, "-m", "arkyn_reporter", "tail", str(writer.path), "--from", "start"]
    command += ["--state", str(tmp_path / "state.json")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: collector.requests)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert "it answered 401" in errors
    assert "never-logged" not in errors
    assert not collector.records


@pytest.mark.parametrize("dsn", ["", "nonsense", "http://host/id", "ftp://token@host/id"])
def test_without_a_usable_dsn_the_command_says_so(dsn, tmp_path):
    command = [sys.executable, "-m", "arkyn_reporter", "tail", "access.log", "--state", str(tmp_path / "state.json")]
    environment = {**os.environ, "PYTHONPATH": SOURCES, "ARKYN_DSN": dsn}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10)
    assert process.returncode == 2
    assert "cannot be used" in process.stderr
    assert "token" not in process.stderr.replace("no usable token", "")


def test_a_broken_state_file_stops_the_start(tail, writer, tmp_path):
    state = tmp_path / "state" / "tail.json"
    state.parent.mkdir()
    state.write_text("{")
    process = tail()
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "cannot be used" in errors
