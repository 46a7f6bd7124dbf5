"""Messages: what they tell, and that no text makes Discord refuse one, ping anybody or show what it should not."""

import re
import unicodedata
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts import KINDS
from app.digests import MAX_KINDS_SHOWN, AlertChange, Digest, Event, Recovery, to_datetime
from app.discord.levels import LEVELS
from app.discord.message import build_message, build_test_message
from app.policies import Notes
from tests.support import examples
from tests.unit.events import NOW, elapsed_times, event, events
from tools.fake_discord import Posted, form_problem

HOST = "api.example.com"
HEADING = "status    count  typical  slowest"

HOSTILE = [
    "@everyone",
    "@here",
    "<@123>",
    "<@&123>",
    "<#123>",
    "</command:1>",
    "<t:0:R>",
    "<:emoji:1>",
    "`",
    "``",
    "```",
    "\\`",
    "\\",
    "**",
    "__",
    "||",
    "~~",
    "> ",
    "# ",
    "-# ",
    "[click](https://evil.example)",
    "https://evil.example",
    "discord.gg/evil",
    "\n",
    "\r\n",
    "\t",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\u2066",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\ud800",
    "\udfff",
    "\N{COMBINING ACUTE ACCENT}",
    "\N{ZERO WIDTH JOINER}",
    "\ufe0f",
    "\u3164",
    "\u2800",
    "\U000e0041",
    "\N{PILE OF POO}",
    "\U0010ffff",
    "\N{ARABIC LIGATURE BISMILLAH AR-RAHMAN AR-RAHEEM}",
    "é",
    " ",
]
hostile_texts = st.one_of(
    st.text(),
    st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5)), max_size=12).map("".join),
    st.builds(lambda text, times: text * times, st.sampled_from(HOSTILE), st.sampled_from([99, 101, 200, 201, 5000])),
)


@st.composite
def digests(
    draw: st.DrawFn, texts: st.SearchStrategy[str] = hostile_texts, sizes: st.SearchStrategy[int] | None = None
) -> Digest:
    """Any kinds with any numbers, a rest in no group perhaps; up to more kinds than a message shows."""
    size = draw(sizes or st.integers(1, MAX_KINDS_SHOWN + 3))
    one_host = draw(st.sampled_from([texts, st.just(HOST), st.just("")]))
    digest = Digest.of(draw(events(texts, st.integers(100, 599), one_host)) for _ in range(size))
    for group in digest.kinds.values():
        group.count = draw(st.sampled_from([1, 2, 1234, 10**15]))
        group.slowest = draw(elapsed_times)
    more_groups = draw(st.sampled_from([0, 0, 1, 2, 10**9]))
    return replace(digest, more_events=more_groups * draw(st.integers(1, 10**6)), more_kinds=more_groups)


recoveries = st.builds(
    lambda count, began_at, lasted, quiet: Recovery(count, began_at, began_at + lasted, quiet and began_at + quiet),
    st.integers(1, 10**15),
    st.integers(0, 4 * 10**12),
    st.integers(0, 10**13),
    st.integers(0, 10**13),
)
changes = st.builds(
    lambda kind, is_firing, value, minutes, requests, at: AlertChange(
        kind, is_firing, value, None if kind == "silence" else value / 2, minutes, requests, at, at // 2
    ),
    st.sampled_from(KINDS),
    st.booleans(),
    st.floats(0, 1e7),
    st.integers(1, 1440),
    st.integers(0, 10**15),
    st.integers(0, 4 * 10**12),
)
notices = st.builds(
    build_message,
    level=st.sampled_from(list(LEVELS)),
    source_name=hostile_texts,
    digest=digests() | recoveries | changes,
    public_url=st.none() | st.just("https://traffic.example.com"),
)
built_messages = st.one_of(notices, st.builds(build_test_message, hostile_texts, st.sampled_from(list(LEVELS))))


def in_utf16(value: Any) -> Any:
    """``value`` with each text as long in characters as it is in UTF-16 code units."""
    match value:
        case str():
            return "x" * (len(value.encode("utf-16-le")) // 2)
        case dict():
            return {name: in_utf16(item) for name, item in value.items()}
        case list():
            return [in_utf16(item) for item in value]
    return value


def told(*items: Event, **fields: Any) -> dict[str, Any]:
    """What ``build_message`` takes."""
    digest = Digest.of(items or (event(),))
    return {"level": "fatal", "source_name": "Payments API", "digest": digest, **fields}


def embed_of(message: dict[str, Any]) -> dict[str, Any]:
    (embed,) = message["embeds"]
    return embed


def table_of(message: dict[str, Any]) -> list[str]:
    """The lines of the table, without its heading."""
    found = re.match("```\n(.*)\n```", embed_of(message)["description"], re.DOTALL)
    assert found is not None
    heading, *lines = found[1].split("\n")
    assert heading == HEADING
    return lines


def rows_of(message: dict[str, Any]) -> list[tuple[int, int]]:
    """The statuses and counts of the table."""
    rows = [re.fullmatch(r"  (\d{3}) +([\d,]+) +\S.*", line) for line in table_of(message)]
    return [(int(row[1]), int(row[2].replace(",", ""))) for row in rows if row]


def every_text(message: dict[str, Any]) -> str:
    embed = embed_of(message)
    author = embed.get("author", {}).get("name", "")
    return "\n".join([message.get("content", ""), author, embed["title"], embed["description"]])


@examples(150)
@given(built_messages)
def test_discord_takes_every_message(message: dict[str, Any]) -> None:
    assert orjson.loads(orjson.dumps(message)) == message
    assert len(message["embeds"]) == 1
    assert form_problem(message) is None
    assert form_problem(in_utf16(message)) is None


@examples(150)
@given(built_messages)
def test_no_text_of_others_is_rendered_or_pings_anybody(message: dict[str, Any]) -> None:
    assert message["allowed_mentions"] == {"parse": []}
    embed = embed_of(message)
    assert "\n" not in embed.get("author", {}).get("name", "")
    description = re.sub(r"\A```\n[^`]+\n```", "", embed["description"])
    for text in (message.get("content", ""), embed["title"], *description.split("\n")):
        assert "``" not in text
        own_words = re.sub(r"`[^`\r\n]+`", "", text)
        assert re.search(r"[`@\\#\[\]|~_\r\n]|://|<(?!t:-?\d+:[ftR]>)", own_words) is None


@examples(150)
@given(built_messages)
def test_nothing_of_a_message_is_hidden_or_reversed(message: dict[str, Any]) -> None:
    text = every_text(message).replace("\n", "")
    assert {unicodedata.category(character) for character in text}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert set(text).isdisjoint("\u3164\u2800\u202e\u2066\u200b\ufeff\U000e0041")
    assert re.search("[\\w�\ufe0f/]\ufe0f|\\w\u200d", text) is None


HIDDEN_OR_REVERSING = {
    "nothing": "\x00",
    "escape": "\x1b",
    "next line": "\x85",
    "soft hyphen": "\u00ad",
    "combining grapheme joiner": "\u034f",
    "Arabic letter mark": "\u061c",
    "Hangul choseong filler": "\u115f",
    "Hangul jungseong filler": "\u1160",
    "Khmer vowel inherent AQ": "\u17b4",
    "Khmer vowel inherent AA": "\u17b5",
    "Mongolian variation selector": "\u180b",
    "Mongolian vowel separator": "\u180e",
    "Mongolian variation selector four": "\u180f",
    "zero width space": "\u200b",
    "zero width non-joiner": "\u200c",
    "zero width joiner between letters": "\u200d",
    "right-to-left mark": "\u200f",
    "line separator": "\u2028",
    "right-to-left override": "\u202e",
    "word joiner": "\u2060",
    "unassigned ignorable": "\u2065",
    "right-to-left isolate": "\u2067",
    "braille blank": "\u2800",
    "Hangul filler": "\u3164",
    "variation selector": "\ufe00",
    "emoji selector after a letter": "\ufe0f",
    "byte order mark": "\ufeff",
    "halfwidth Hangul filler": "\uffa0",
    "unassigned special": "\ufff0",
    "tag": "\U000e0041",
    "unassigned tag": "\U000e0002",
    "variation selector 256": "\U000e01ef",
    "unassigned after the variation selectors": "\U000e0fff",
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("character", HIDDEN_OR_REVERSING.values(), ids=HIDDEN_OR_REVERSING)
def test_text_that_hides_or_reverses_is_shown_as_such(character: str) -> None:
    text = f"/a{character}b"
    embed = embed_of(build_message(**told(event(path=text, host="a" + character, method=character), source_name=text)))
    assert embed["author"]["name"] == "/a�b"
    assert embed["title"] == "`� a�/a�b`"
    table = table_of(build_message(**told(event(path=text), event(path="/", host=character))))
    assert "GET /a�b" in table
    assert "�" in table


@pytest.mark.parametrize(
    "emoji",
    [
        "\N{BLACK HEART SUIT}\ufe0f",
        "1\ufe0f\u20e3",
        "\N{MAN}\u200d\N{PERSONAL COMPUTER}",
        "\N{MAN}\U0001f3fd\u200d\N{PERSONAL COMPUTER}",
        "\N{WAVING WHITE FLAG}\ufe0f\u200d\N{RAINBOW}",
    ],
)
def test_emoji_are_shown_whole(emoji: str) -> None:
    name = f"Payments {emoji} API"
    assert embed_of(build_message(**told(source_name=name)))["author"]["name"] == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\ufe0f", "�"),
        ("1\ufe0f", "1�"),
        ("a\ufe0f\u20e3", "a�\u20e3"),
        ("\N{BLACK HEART SUIT}\ufe0f\ufe0f", "\N{BLACK HEART SUIT}\ufe0f�"),
        ("\u2800\ufe0f", "��"),
        ("\u200b\ufe0f", "��"),
        ("a\ufe0f\u200d\N{MAN}", "a��\N{MAN}"),
        ("\N{MAN}\u200d", "\N{MAN}�"),
        ("\N{MAN}\u200d\u200d\N{MAN}", "\N{MAN}��\N{MAN}"),
        ("\N{MAN}\u200d\u2800", "\N{MAN}��"),
        ("\N{REPLACEMENT CHARACTER}\u200d\N{MAN}", "��\N{MAN}"),
    ],
)
def test_what_joins_emoji_is_shown_where_it_joins_none(text: str, shown: str) -> None:
    assert embed_of(build_message(**told(source_name=text)))["author"]["name"] == shown


@pytest.mark.parametrize("text", ["", " ", "\N{NO-BREAK SPACE}", "\t"])
def test_no_text_at_all_still_makes_a_message(text: str) -> None:
    message = build_message(**told(event(path=text), source_name=text))
    assert form_problem(message) is None
    assert embed_of(message)["author"]["name"].strip()
    assert re.fullmatch(r"`GET api\.example\.com[^`\s]`", embed_of(message)["title"])


@pytest.mark.parametrize("unit", ["x", "é", "\N{PILE OF POO}"])
def test_a_long_text_is_cut_in_its_middle_between_characters_and_says_so(unit: str) -> None:
    long_name = f"first{unit * 5000}last"
    embed = embed_of(build_message(**told(event(path=f"/{unit * 170}/last"), source_name=long_name)))
    assert re.fullmatch(f"first(?:{unit})+…(?:{unit})+last", embed["author"]["name"])
    assert re.fullmatch(rf"`GET api\.example\.com/(?:{unit})+…(?:{unit})+/last`", embed["title"])
    assert 98 <= len(in_utf16(embed["author"]["name"])) <= 100
    assert 148 <= len(in_utf16(embed["title"])) - len("`GET api.example.com`") <= 150


@pytest.mark.parametrize(("unit", "fitting"), [("a", 100), ("é", 100), ("\N{PILE OF POO}", 50)])
def test_a_text_is_cut_only_where_it_does_not_fit(unit: str, fitting: int) -> None:
    def shown(name: str) -> str:
        return str(embed_of(build_message(**told(source_name=name)))["author"]["name"])

    assert shown(unit * fitting) == unit * fitting
    assert "…" in shown(unit * (fitting + 1))


def test_cutting_leaves_nothing_hidden_behind() -> None:
    heart = "\N{BLACK HEART SUIT}\ufe0f"
    for before in ("", "x"):
        name = embed_of(build_message(**told(source_name=before + heart * 60)))["author"]["name"]
        assert "…\ufe0f" not in name


@pytest.mark.parametrize(
    ("level", "status", "line", "colour"),
    [
        ("fatal", 500, "🔴 **Fatal** · 500 Internal Server Error · 1.2 s", 0xD93F3F),
        ("fatal", 599, "🔴 **Fatal** · 599 · 1.2 s", 0xD93F3F),
        ("warning", 404, "🟠 **Warning** · 404 Not Found · 1.2 s", 0xE8A317),
        ("info", 204, "🔵 **Info** · 204 No Content · 1.2 s", 0x3B82F6),
    ],
)
def test_an_event_is_told_whole(level: str, status: int, line: str, colour: int) -> None:
    item = event(elapsed=1234, method="delete", path="/orders/17", status=status)
    assert build_message(**told(item, level=level)) == {
        "embeds": [
            {
                "author": {"name": "Payments API"},
                "title": "`DELETE api.example.com/orders/17`",
                "description": line,
                "color": colour,
                "timestamp": "2025-07-21T14:30:00.000+00:00",
            }
        ],
        "allowed_mentions": {"parse": []},
    }


def test_equal_events_are_told_once_with_their_count_and_span() -> None:
    later = NOW + 90_000
    repeated = [event(elapsed=elapsed, at=at) for elapsed, at in [(10, NOW), (10, NOW), (3000, later)]]
    message = build_message(**told(*repeated))
    assert message["content"] == "🔴 **3 fatal events**"
    assert embed_of(message) == {
        "author": {"name": "Payments API"},
        "title": "`GET api.example.com/orders`",
        "description": "🔴 **Fatal** · 500 Internal Server Error · 9.8 ms typical, 3.0 s at most\n"
        f"First <t:{NOW // 1000}:t>, last <t:{later // 1000}:R>",
        "color": 0xD93F3F,
        "timestamp": "2025-07-21T14:31:30.000+00:00",
    }


@pytest.mark.parametrize(("hours", "style"), [(11.9, "t"), (12, "f"), (100, "f")])
def test_the_first_time_tells_its_date_where_it_is_not_of_the_same_half_day(hours: float, style: str) -> None:
    last = NOW + int(hours * 3_600_000)
    for items in ([event(), event(at=last)], [event(), event(at=last, status=502)]):
        description = embed_of(build_message(**told(*items)))["description"]
        assert f"First <t:{NOW // 1000}:{style}>, last <t:{last // 1000}:R>" in description


def test_a_path_is_told_exactly_only_where_all_events_had_it() -> None:
    same, other = [event(path="/orders/1")] * 2, event(path="/orders/2")
    assert embed_of(build_message(**told(*same)))["title"] == "`GET api.example.com/orders/1`"
    assert embed_of(build_message(**told(*same, other)))["title"] == "`GET api.example.com/orders/{id}`"


def test_events_of_several_hosts_are_not_told_as_of_one() -> None:
    message = build_message(**told(event(host="a.example.com"), event(host="b.example.com")))
    assert embed_of(message)["title"] == "`GET /orders` on several hosts"


def test_an_event_of_an_earlier_version_has_no_host() -> None:
    assert embed_of(build_message(**told(event(host=""))))["title"] == "`GET /orders`"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.0 ms"),
        (0.1234, "0.1 ms"),
        (9.5, "9.5 ms"),
        (12.49, "12 ms"),
        (12.5, "13 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (59_000, "59.0 s"),
        (60_000, "1.0 min"),
        (5_399_000, "90.0 min"),
        (5_400_000, "1.5 h"),
        (359_000_000, "99.7 h"),
        (360_000_000, "> 100 h"),
        (1e308, "> 100 h"),
    ],
)
def test_an_elapsed_time_is_told_in_a_fitting_unit(milliseconds: float, text: str) -> None:
    assert embed_of(build_message(**told(event(elapsed=milliseconds))))["description"].endswith(f" · {text}")


STORM = [
    *(event(path=f"/orders/{number}", elapsed=20, at=NOW + number) for number in range(1200)),
    *(event(path="/login", method="post", status=503, elapsed=3000) for _ in range(30)),
    *(event(path="/orders/1", status=502, elapsed=90_000, at=NOW - 2000) for _ in range(2)),
]


@pytest.mark.parametrize(
    ("elapsed", "line"),
    [
        ([0.2, 0.2, 900], "≤ 1 ms typical, 900 ms at most"),
        ([0.2, 0.3], "≤ 1 ms typical, 0.3 ms at most"),
        ([0.2], "0.2 ms"),
        ([1.2, 1.2], "1.2 ms typical, 1.2 ms at most"),
    ],
)
def test_a_median_below_a_millisecond_is_said_to_be_no_more_than_that(elapsed: list[float], line: str) -> None:
    message = build_message(**told(*(event(elapsed=each) for each in elapsed)))
    assert embed_of(message)["description"].splitlines()[0].endswith(f"· {line}")
    table = build_message(**told(*(event(elapsed=each, status=status) for each in elapsed for status in (500, 502))))
    assert f" {line.partition(' typical')[0]:>8} " in embed_of(table)["description"]


def test_a_storm_on_one_host_is_one_table_by_path() -> None:
    message = build_message(**told(*STORM))
    assert message["content"] == "🔴 **1,232 fatal events**"
    assert embed_of(message) == {
        "author": {"name": "Payments API"},
        "title": "`api.example.com`",
        "description": "\n".join(
            [
                "```",
                "status    count  typical  slowest",
                "GET /orders/{id}",
                "  500     1,200    19 ms    20 ms",
                "  502         2  1.5 min  1.5 min",
                "POST /login",
                "  503        30    3.0 s    3.0 s",
                f"```First <t:{NOW // 1000 - 2}:t>, last <t:{NOW // 1000 + 1}:R>",
            ]
        ),
        "color": 0xD93F3F,
        "timestamp": "2025-07-21T14:30:01.199+00:00",
    }


def test_a_storm_over_hosts_is_told_by_host() -> None:
    both = [event(host=host, path="/both") for host in ("a.example.com", "b.example.com")]
    first = [event(host="a.example.com", path=f"/{name}", at=NOW + 1) for name in "xyxyxy"]
    message = build_message(**told(*first, *both, event(host="b.example.com")))
    assert embed_of(message)["title"] == "Several hosts"
    assert [line for line in table_of(message) if not line.startswith("  ")] == [
        *("", "a.example.com", "GET /x", "GET /y"),
        *("", "several hosts", "GET /both"),
        *("", "b.example.com", "GET /orders"),
    ]


def test_the_title_of_a_storm_names_the_host_of_the_most_frequent_events() -> None:
    items = [event(host=f"{name}.example.com", path=f"/{name}") for name in "abcc"]
    assert embed_of(build_message(**told(*items)))["title"] == "`c.example.com` and 2 other hosts"
    assert embed_of(build_message(**told(*items[1:])))["title"] == "`c.example.com` and 1 other host"


def test_a_host_of_events_that_are_not_shown_is_counted_too() -> None:
    items = [event(path=f"/{number}", status=500 + number) for number in range(MAX_KINDS_SHOWN)]
    message = build_message(**told(*items, event(host="b.example.com", path="/b", at=NOW + 1)))
    assert embed_of(message)["title"] == "`api.example.com` and 1 other host"
    assert table_of(message)[:2] == ["", HOST]


def test_one_path_of_several_statuses_stands_in_the_title_alone() -> None:
    items = [event(path="/orders/1"), event(path="/orders/1"), event(path="/orders/1", status=502)]
    message = build_message(**told(*items))
    assert embed_of(message)["title"] == "`GET api.example.com/orders/1`"
    assert len(table_of(message)) == 2
    message = build_message(**told(*items, event(path="/orders/2", host="b.example.com")))
    assert embed_of(message)["title"] == "`GET /orders/{id}` on several hosts"


def test_one_path_shown_of_several_stands_in_the_table() -> None:
    items = [event(status=500 + number) for number in range(MAX_KINDS_SHOWN)]
    message = build_message(**told(*items, event(path="/later", at=NOW + 1)))
    assert embed_of(message)["title"] == "`api.example.com`"


def test_first_and_last_are_those_of_all_events_and_not_of_the_shown_ones() -> None:
    shown = [event(path=f"/{name}") for name in "abcdefghij" for _ in range(2)]
    message = build_message(**told(*shown, event(path="/early", at=NOW - 60_000), event(path="/late", at=NOW + 60_000)))
    assert f"First <t:{NOW // 1000 - 60}:t>, last <t:{NOW // 1000 + 60}:R>" in embed_of(message)["description"]
    assert embed_of(message)["timestamp"] == to_datetime(NOW + 60_000).isoformat(timespec="milliseconds")


def test_a_table_of_usual_numbers_fits_a_phone() -> None:
    items = [event(path=f"/p{number}", elapsed=5_399_000) for number in range(12)]
    digest = Digest.of(items)
    for group in digest.kinds.values():
        group.count = 9_999_999
    lines = table_of(build_message(**told(digest=digest)))
    assert max(map(len, lines)) == len(HEADING) == 33
    assert lines[1] == "  500 9,999,999 90.0 min 90.0 min"


def test_a_long_path_in_a_table_keeps_its_beginning_and_its_end() -> None:
    path = "/organisations/{id}" + "/projects/{id}" * 8 + "/log-streams"
    line = table_of(build_message(**told(event(path=path), event(path="/"))))
    cut = next(text for text in line if text.startswith("GET /organisations"))
    assert re.fullmatch(r"GET /organisations/\{id\}.*….*/log-streams", cut)
    assert len(cut) == 62


def test_a_table_of_the_longest_texts_is_taken_by_discord() -> None:
    long = "\N{PILE OF POO}" * 3000
    items = [event(method=long, host=f"{number}{long}", path=f"/{number}{long}", elapsed=1e308) for number in range(20)]
    message = build_message(**told(*items, source_name=long))
    assert form_problem(in_utf16(message)) is None
    hosts = [line for line in table_of(message) if line and not line.startswith((long[0], " "))]
    assert len(hosts) == MAX_KINDS_SHOWN
    assert max(len(in_utf16(host)) for host in hosts) <= 34


@examples(100)
@given(digests(st.text("/ab1", max_size=4)))
def test_what_is_shown_and_what_is_more_add_up(digest: Digest) -> None:
    message = build_message(**told(digest=digest))
    counts = [digest.event_count] if digest.kind_count == 1 else [count for _, count in rows_of(message)]
    assert len(counts) == min(len(digest.kinds), MAX_KINDS_SHOWN)
    if digest.event_count == 1:
        assert "content" not in message
        return
    summary = r"[🔴🟠🔵] \*\*(\d[\d,]*) [a-z ]+ events\*\*(?:, \+(\d[\d,]*) more in (\d[\d,]*) groups?)?"
    parts = re.fullmatch(summary, message["content"])
    assert parts is not None
    total, more_events, more_groups = (int((number or "0").replace(",", "")) for number in parts.groups())
    assert total == digest.event_count == sum(counts) + more_events
    assert more_groups == digest.kind_count - len(counts)
    assert Posted("", message, {}, {}, 0).events == digest.event_count


@examples(40)
@given(st.lists(st.integers(1, 10**6), min_size=MAX_KINDS_SHOWN + 1, max_size=400, unique=True))
def test_of_hundreds_of_kinds_exactly_the_most_frequent_are_shown(counts: list[int]) -> None:
    digest = Digest.of(event(status=500 + number) for number in range(len(counts)))
    for group in digest.kinds.values():
        group.count = counts[group.status - 500]
    message = build_message(**told(digest=digest))
    most = sorted(counts, reverse=True)[:MAX_KINDS_SHOWN]
    assert rows_of(message) == [(500 + counts.index(count), count) for count in most]
    more, groups = sum(counts) - sum(most), len(counts) - MAX_KINDS_SHOWN
    of = "1 group" if groups == 1 else f"{groups} groups"
    assert message["content"] == f"🔴 **{sum(counts):,} fatal events**, +{more:,} more in {of}"


def test_ten_thousand_kinds_that_are_not_shown_are_counted_exactly() -> None:
    frequent = [event(path=f"/frequent-{number}") for number in range(10)] * 2
    message = build_message(**told(*(event(path=f"/kind-{number}") for number in range(10_000)), *frequent))
    assert message["content"] == "🔴 **10,020 fatal events**, +10,000 more in 10,000 groups"
    assert [line for line in table_of(message) if "GET" in line] == [f"GET /frequent-{number}" for number in range(10)]


def test_one_kind_left_out_is_one_group() -> None:
    items = (event(path=f"/{number}", status=500 + number) for number in range(11))
    assert build_message(**told(*items))["content"] == "🔴 **11 fatal events**, +1 more in 1 group"


@pytest.mark.parametrize("level", LEVELS)
def test_a_storm_tells_its_level_by_word_and_colour(level: str) -> None:
    status = {"fatal": 500, "warning": 404, "info": 200}[level]
    message = build_message(**told(*[event(status=status)] * 3, level=level))
    assert f" {level} events" in message["content"]
    assert embed_of(message)["color"] == LEVELS[level].colour


@pytest.mark.parametrize(
    "notice", [Recovery(3, NOW, NOW), AlertChange("p95", True, value=2, threshold=1, minutes=5, requests=9, at=NOW)]
)
def test_neither_a_recovery_nor_an_alert_pings_the_role_of_a_policy(notice: Recovery | AlertChange) -> None:
    message = build_message(**told(digest=notice), notes=Notes(mention_role_id="42"))
    assert "content" not in message
    assert message["allowed_mentions"] == {"parse": []}


def test_events_of_several_levels_are_told_as_that_under_the_most_severe() -> None:
    """A webhook's level was changed while they waited."""
    message = build_message(**told(event(status=204), event(status=404), event(status=404), level="info"))
    assert message["content"] == "🟠 **3 warning and info events**"
    assert embed_of(message)["color"] == LEVELS["warning"].colour


@pytest.mark.parametrize("level", ["fatal", "warning", "info"])
def test_the_end_of_an_incident_is_told_silently(level: str) -> None:
    recovery = Recovery(1234, NOW, NOW + 120_000, noticed_at=NOW + 720_000)
    assert build_message(**told(level=level, digest=recovery)) == {
        "embeds": [
            {
                "author": {"name": "Payments API"},
                "title": f"🟢 Recovered: no {level} event for 10 minutes",
                "description": f"**1,234 {level} events** from <t:{NOW // 1000}:f> to <t:{NOW // 1000 + 120}:t>",
                "color": 0x2EAA62,
            }
        ],
        "allowed_mentions": {"parse": []},
        "flags": 4096,
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (600, "10 minutes"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
    ],
)
def test_a_recovery_tells_how_long_it_has_been_quiet(seconds: int, text: str) -> None:
    message = build_message(**told(digest=Recovery(2, NOW - 5, NOW, NOW + seconds * 1000)))
    assert embed_of(message)["title"] == f"🟢 Recovered: no fatal event for {text}"


@pytest.mark.parametrize("noticed_at", [0, NOW, NOW - 60_000])
def test_a_recovery_is_not_quiet_for_a_time_that_is_not_known(noticed_at: int) -> None:
    message = build_message(**told(digest=Recovery(2, NOW - 5, NOW, noticed_at)))
    assert embed_of(message)["title"] == "🟢 Recovered: no fatal event"


def test_a_long_incident_tells_both_dates() -> None:
    message = build_message(**told(digest=Recovery(1, NOW, NOW + 86_400_000, NOW + 86_500_000)))
    span = f"from <t:{NOW // 1000}:f> to <t:{NOW // 1000 + 86_400}:f>"
    assert embed_of(message)["description"] == f"**1 fatal event** {span}"


@pytest.mark.parametrize("level", LEVELS)
def test_a_test_message_names_the_level_and_the_source(level: str) -> None:
    embed = embed_of(build_test_message("Payments `API`", level))
    assert embed["color"] == LEVELS[level].colour
    assert level in embed["description"].lower()
    assert "`Payments ˋAPIˋ`" in embed["description"]


def test_with_a_public_url_the_title_links_to_the_page_of_the_last_record_of_the_most_frequent_kind():
    often = [event(path="/a", record_id="r1"), event(path="/a", record_id="r2")]
    fields = told(event(path="/b", record_id="r3"), *often, public_url="https://traffic.example.com/base")
    assert embed_of(build_message(**fields))["url"] == "https://traffic.example.com/base/console/records/r2"


def test_without_a_public_url_or_with_one_too_long_for_discord_a_message_links_to_nothing():
    assert "url" not in embed_of(build_message(**told()))
    assert "url" not in embed_of(build_message(**told(event(), public_url="https://x/" + "y" * 2048)))


FIRES: dict[str, Any] = {"is_firing": True, "minutes": 10, "requests": 1234, "at": NOW}


@pytest.mark.parametrize(
    ("alert", "title", "description"),
    [
        (
            AlertChange("errorRate", value=12.5, threshold=5.0, **FIRES),
            "🔴 Failing: error rate 12.5 %",
            "**12.5 %** fatal among 1,234 requests in 10 minutes before <t:1753108200:f>; fires at 5 %",
        ),
        (
            AlertChange("p95", value=1250.256, threshold=800.0, **FIRES | {"requests": 1, "minutes": 1}),
            "🔴 Slow: p95 1,250 ms",
            "**1,250 ms** at percentile 95 of 1 request in 60 seconds before <t:1753108200:f>; fires at 800 ms",
        ),
        (
            AlertChange("silence", value=12, threshold=None, **FIRES),
            "🔴 Silent: no request for 12 minutes",
            "None since <t:1753107480:f>; fires after 10 minutes",
        ),
        (
            AlertChange("errorRate", value=0.004, threshold=0.5, **FIRES | {"is_firing": False, "fired_at": 1000}),
            "🟢 Over: error rate 0.004 %",
            "**0.004 %** fatal among 1,234 requests in 10 minutes before <t:1753108200:f>; fires at 0.5 %\n"
            "It fired <t:1:f>",
        ),
        (
            AlertChange("silence", value=0, threshold=None, **FIRES | {"is_firing": False, "fired_at": 1000}),
            "🟢 Over: requests come again",
            "Fires after 10 minutes\nIt fired <t:1:f>",
        ),
    ],
)
def test_the_message_of_an_alert_says_what_was_measured(alert: AlertChange, title: str, description: str) -> None:
    message = build_message(**told(digest=alert))
    (embed,) = message["embeds"]
    assert (embed["title"], embed["description"]) == (title, description)
    assert message["allowed_mentions"] == {"parse": []}
    assert message.get("flags") == (None if alert.is_firing else 1 << 12)
