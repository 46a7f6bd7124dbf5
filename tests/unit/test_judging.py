"""The turns in which webhooks are judged."""

import pytest

from app.delivery.judging import Judging
from app.models.columns import utcnow


def test_webhooks_are_chosen_in_turns_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.delivery.judging.JUDGED_AT_ONCE", 2)
    judging, found = Judging(utcnow), []
    for _ in range(3):
        judging.choose(["c", "a", "b"])
        found.append((judging.chosen, judging.has_more))
    assert found == [(["a", "b"], True), (["c"], True), (["a", "b"], True)]


def test_once_all_are_chosen_there_are_no_more() -> None:
    judging = Judging(utcnow)
    for webhooks in (["a", "b"], []):
        judging.choose(webhooks)
        assert (judging.chosen, judging.has_more) == (webhooks, False)
