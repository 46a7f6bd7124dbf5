"""`make pictures`: messages drawn as Discord draws them."""

import sys

from tools import pictures


def test_a_page_shows_messages_of_every_kind(tmp_path, monkeypatch):
    page = tmp_path / "messages.html"
    monkeypatch.setattr(sys, "argv", ["pictures", "--page", str(page)])
    assert pictures.main() is None
    html = page.read_text()
    assert "<b>100,000 fatal events</b>" in html
    assert "Recovered: no fatal event" in html
    assert "**" not in html
    assert "```" not in html


def test_where_there_is_no_browser_it_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    picture = tmp_path / "message.png"
    assert pictures.take(picture) is None
    assert capsys.readouterr().out.startswith("SKIPPED: no picture was taken")
    assert not picture.exists()
