"""What a dispatcher sets aside, for how long, and when that is forgotten."""

import pytest

from app.delivery.troubles import FIRST_SECONDS, LONGEST_SECONDS, Troubles


class Moments:
    """Monotonic seconds, moved on by tests."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    moments = Moments()
    monkeypatch.setattr("app.delivery.troubles.monotonic", moments)
    return moments


def fail(troubles: Troubles, key: str = "a") -> None:
    troubles.add(key, f"Webhook {key}", ValueError("no"))


def seconds_aside(troubles: Troubles, moments: Moments, key: str = "a") -> int:
    began = moments.now
    while troubles.has(key) and moments.now < began + 2 * LONGEST_SECONDS:
        moments.now += 1
    return int(moments.now - began)


def test_what_fails_again_and_again_is_set_aside_twice_as_long_each_time_up_to_ten_minutes(moments: Moments) -> None:
    troubles, found = Troubles(), []
    for _ in range(9):
        fail(troubles)
        found.append(seconds_aside(troubles, moments))
    assert found == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_only_what_failed_is_set_aside_and_named(moments: Moments) -> None:
    troubles = Troubles()
    assert troubles.last is None
    fail(troubles, "a")
    assert (troubles.has("a"), troubles.has("b"), len(troubles)) == (True, False, 1)
    assert troubles.last is not None
    assert troubles.last.startswith("Webhook a is set aside for 10 s.")
    fail(troubles, "b")
    assert len(troubles) == 2
    assert troubles.last.startswith("Webhook b")


def test_a_step_that_is_set_aside_does_not_run(moments: Moments) -> None:
    troubles = Troubles()

    def _step() -> int:
        raise AssertionError

    fail(troubles, "step")
    assert troubles.run(_step) is None


def test_what_passed_is_in_no_trouble_and_begins_anew(moments: Moments) -> None:
    troubles = Troubles()
    for _ in range(3):
        fail(troubles)
    troubles.passed(["a", "never failed"])
    assert (troubles.has("a"), len(troubles)) == (False, 0)
    fail(troubles)
    assert seconds_aside(troubles, moments) == FIRST_SECONDS


def test_a_failure_is_forgotten_ten_minutes_after_it_could_have_been_tried_again(moments: Moments) -> None:
    troubles = Troubles()
    fail(troubles)
    moments.now += FIRST_SECONDS + LONGEST_SECONDS - 1
    troubles.forgive()
    assert len(troubles) == 1
    moments.now += 1
    troubles.forgive()
    assert len(troubles) == 0
