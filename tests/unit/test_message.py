"""Messages: what they tell, and that no text makes Discord refuse one, ping anybody or show what it should not."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.discord.digest import MAX_GROUPS, Digest, Group, Recovery, merge
from app.discord.message import LEVELS, MAX_EMBEDS, Notice, build_message, build_test_message
from tests.discord import Posted, form_problem
from tests.support import examples
from tests.unit.facts import NOW, elapsed_times, event, events

DELIVERY_ID = "01980000-0000-7000-8000-000000000001"
PUBLIC_URL = "https://traffic.example.com"

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
def digests(draw: st.DrawFn, paths: st.SearchStrategy[str] = hostile_texts) -> Digest:
    """Any groups with any numbers, a rest in no group perhaps; up to more groups than a message shows."""
    groups = draw(st.lists(events(paths, st.integers(100, 599)), min_size=1, max_size=MAX_EMBEDS + 3))
    counted = tuple(
        Group(**vars(group) | {"count": draw(st.sampled_from([1, 2, 1234, 10**15]))} | {"slowest": draw(elapsed_times)})
        for group in groups
    )
    more_groups = draw(st.sampled_from([0, 1, 2, 10**9]))
    return Digest(counted, more_events=more_groups * draw(st.integers(1, 10**6)), more_groups=more_groups)


recoveries = st.builds(
    lambda events, began_at, lasted: Recovery(events, began_at, began_at + lasted),
    st.integers(1, 10**15),
    st.integers(0, 4 * 10**12),
    st.integers(0, 10**13),
)
notices = st.builds(
    Notice,
    level=st.sampled_from(list(LEVELS)),
    source_name=hostile_texts,
    delivery_id=st.uuids().map(str),
    facts=digests() | recoveries,
    link=st.sampled_from([None, PUBLIC_URL]),
)
built_messages = st.one_of(
    notices.map(build_message), st.builds(build_test_message, hostile_texts, st.sampled_from(list(LEVELS)))
)


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


def rendered_texts(message: dict[str, Any]) -> list[str]:
    """What Discord renders as markdown. (Names of authors and footers are shown as they are.)"""
    texts = [message.get("content", "")]
    for embed in message["embeds"]:
        texts += [embed["title"], embed["description"]]
        texts += [text for item in embed.get("fields", []) for text in (item["name"], item["value"])]
    return texts


def notice(*groups: Group, **fields: Any) -> Notice:
    facts = Digest(groups or (event(),))
    defaults = {"level": "fatal", "source_name": "Payments API", "delivery_id": DELIVERY_ID, "facts": facts}
    return Notice(**defaults | fields)


def shown_fields(embed: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in embed["fields"]}


@examples(120)
@given(built_messages)
def test_discord_takes_every_message(message: dict[str, Any]) -> None:
    assert orjson.loads(orjson.dumps(message)) == message
    assert form_problem(message) is None
    assert form_problem(in_utf16(message)) is None


@examples(120)
@given(built_messages)
def test_no_text_of_others_is_rendered_or_pings_anybody(message: dict[str, Any]) -> None:
    assert message["allowed_mentions"] == {"parse": []}
    for text in rendered_texts(message):
        assert "``" not in text
        own_words = re.sub(r"`[^`\r\n]+`", "", text)
        assert re.search(r"[`@\\#\[\]|~_\r\n]|://|<(?!t:-?\d+:[fR]>)", own_words) is None
    for embed in message["embeds"]:
        assert "\n" not in embed.get("author", {}).get("name", "")


HIDDEN_OR_REVERSING = {
    "nothing": "\x00",
    "escape": "\x1b",
    "next line": "\x85",
    "soft hyphen": "\u00ad",
    "Arabic letter mark": "\u061c",
    "zero width space": "\u200b",
    "right-to-left mark": "\u200f",
    "line separator": "\u2028",
    "right-to-left override": "\u202e",
    "word joiner": "\u2060",
    "right-to-left isolate": "\u2067",
    "byte order mark": "\ufeff",
    "tag": "\U000e0041",
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("character", HIDDEN_OR_REVERSING.values(), ids=HIDDEN_OR_REVERSING)
def test_text_that_hides_or_reverses_is_shown_as_such(character: str) -> None:
    text = f"/a{character}b"
    message = build_message(notice(event(path=text), source_name=text))
    embed = message["embeds"][0]
    assert embed["author"]["name"] == "/a\N{REPLACEMENT CHARACTER}b"
    assert embed["description"] == "**GET** `/a\N{REPLACEMENT CHARACTER}b`"


@pytest.mark.parametrize("text", ["", " ", "\N{NO-BREAK SPACE}", "\t"])
def test_no_text_at_all_still_makes_a_message(text: str) -> None:
    message = build_message(notice(event(path=text), source_name=text))
    assert form_problem(message) is None
    assert message["embeds"][0]["author"]["name"].strip()
    assert re.fullmatch(r"\*\*GET\*\* `[^`\s]+`", message["embeds"][0]["description"])


@pytest.mark.parametrize("unit", ["a", "é", "\N{PILE OF POO}"])
def test_a_long_text_is_cut_between_characters_and_says_so(unit: str) -> None:
    embed = build_message(notice(event(path="/" + unit * 5000), source_name=unit * 5000))["embeds"][0]
    assert re.fullmatch(f"(?:{unit})+…", embed["author"]["name"])
    assert re.fullmatch(rf"\*\*GET\*\* `/(?:{unit})+…`", embed["description"])
    assert 90 <= len(in_utf16(embed["author"]["name"])) <= 100
    assert 190 <= len(in_utf16(embed["description"])) <= 220


@pytest.mark.parametrize(("unit", "fitting"), [("a", 100), ("é", 100), ("\N{PILE OF POO}", 50)])
def test_a_text_is_cut_only_where_it_does_not_fit(unit: str, fitting: int) -> None:
    def shown(name: str) -> str:
        return build_message(notice(source_name=name))["embeds"][0]["author"]["name"]

    assert shown(unit * fitting) == unit * fitting
    assert shown(unit * (fitting + 1)).endswith("…")


@pytest.mark.parametrize(
    ("level", "status", "title", "colour"),
    [
        ("fatal", 500, "🔴 Fatal · 500 Internal Server Error", 0xD93F3F),
        ("fatal", 599, "🔴 Fatal · 599", 0xD93F3F),
        ("warning", 404, "🟠 Warning · 404 Not Found", 0xE8A317),
        ("info", 204, "🔵 Info · 204 No Content", 0x3B82F6),
    ],
)
def test_an_event_is_told_whole(level: str, status: int, title: str, colour: int) -> None:
    group = event(elapsed=1234, method="delete", path="/orders/17", status=status)
    assert build_message(notice(group, level=level)) == {
        "embeds": [
            {
                "author": {"name": "Payments API"},
                "title": title,
                "description": "**DELETE** `/orders/17`",
                "color": colour,
                "fields": [
                    {"name": "Elapsed", "value": "1.2 s", "inline": True},
                    {"name": "Count", "value": "1", "inline": True},
                    {"name": "First seen", "value": f"<t:{NOW // 1000}:f>", "inline": True},
                    {"name": "Last seen", "value": f"<t:{NOW // 1000}:R>", "inline": True},
                ],
                "footer": {"text": f"Delivery {DELIVERY_ID}"},
                "timestamp": "2025-07-21T14:30:00.000+00:00",
            }
        ],
        "allowed_mentions": {"parse": []},
    }


def test_repeated_events_are_told_once_with_their_count_and_span() -> None:
    later = NOW + 90_000
    repeated = merge(Digest((event(elapsed=elapsed, at=at),)) for elapsed, at in [(10, NOW), (10, NOW), (3000, later)])
    message = build_message(notice(facts=repeated))
    assert message["content"] == "🔴 **3 fatal events**"
    fields = shown_fields(message["embeds"][0])
    assert fields["Count"] == "3"
    assert fields["First seen"] == f"<t:{NOW // 1000}:f>"
    assert fields["Last seen"] == f"<t:{later // 1000}:R>"
    assert re.fullmatch(r"(9\.\d+|10) ms typical, 3\.0 s at most", fields["Elapsed"])


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (0.1234, "0.123 ms"),
        (9.5, "9.5 ms"),
        (12.5, "12 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (59_000, "59.0 s"),
        (60_000, "1.0 min"),
        (5_400_000, "90.0 min"),
        (1e9, "more than 11 days"),
        (1e308, "more than 11 days"),
    ],
)
def test_an_elapsed_time_is_told_in_a_fitting_unit(milliseconds: float, text: str) -> None:
    message = build_message(notice(event(elapsed=milliseconds)))
    assert shown_fields(message["embeds"][0])["Elapsed"] == text


@examples(100)
@given(digests())
def test_what_is_shown_and_what_is_more_add_up(facts: Digest) -> None:
    message = build_message(notice(facts=facts))
    embeds = message["embeds"]
    shown = sum(int(shown_fields(embed)["Count"].replace(",", "")) for embed in embeds)
    assert len(embeds) == min(len(facts.groups), MAX_EMBEDS)
    if facts.event_count == 1:
        assert (shown, "content" in message) == (1, False)
        return
    summary = r"🔴 \*\*(\d[\d,]*) fatal events\*\*(?:, \+(\d[\d,]*) more in (\d[\d,]*) groups?)?"
    parts = re.fullmatch(summary, message["content"])
    assert parts is not None
    total, more_events, more_groups = (int((number or "0").replace(",", "")) for number in parts.groups())
    assert total == facts.event_count == shown + more_events
    assert more_groups == len(facts.groups) - len(embeds) + facts.more_groups
    assert Posted("", message, {}, {}, 0).events == facts.event_count


def test_a_storm_of_many_kinds_is_one_message_that_counts_every_event() -> None:
    kinds = MAX_GROUPS + 50
    storm = merge(Digest((event(path=f"/kind-{number % kinds}"),)) for number in range(1000))
    message = build_message(notice(facts=storm))
    assert message["content"] == "🔴 **1,000 fatal events**, +900 more in 90 groups"
    assert len(message["embeds"]) == 10


def test_one_group_left_out_is_one_group() -> None:
    groups = (event(path=f"/{number}", status=500 + number) for number in range(11))
    assert build_message(notice(*groups))["content"] == "🔴 **11 fatal events**, +1 more in 1 group"


@examples(60)
@given(digests(paths=st.just("/")))
def test_each_embed_links_to_a_record_of_its_own(facts: Digest) -> None:
    message = build_message(notice(facts=facts, link=PUBLIC_URL))
    urls = [embed["url"] for embed in message["embeds"]]
    assert len(set(urls)) == len(urls)
    assert urls == [
        f"{PUBLIC_URL}/http-traffic-records/record/{group.record_id}" for group in facts.groups[:MAX_EMBEDS]
    ]


@pytest.mark.parametrize("link", [None, "http://localhost:8000", "http://traffic:8000"])
def test_nothing_is_linked_where_discord_would_refuse_the_url(link: str | None) -> None:
    assert "url" not in build_message(notice(link=link))["embeds"][0]


@pytest.mark.parametrize(("level", "word"), [("fatal", "fatal"), ("warning", "warning"), ("info", "info")])
def test_the_end_of_an_incident_is_told_silently(level: str, word: str) -> None:
    message = build_message(notice(level=level, facts=Recovery(1234, NOW, NOW + 120_000)))
    (embed,) = message["embeds"]
    assert message["flags"] == 4096
    assert embed["author"] == {"name": "Payments API"}
    assert word in embed["title"]
    assert embed["color"] not in {style.colour for style in LEVELS.values()}
    assert embed["description"] == f"1,234 {word} events over 2.0 min, the last <t:{NOW // 1000 + 120}:R>."
    assert embed["footer"] == {"text": f"Delivery {DELIVERY_ID}"}


def test_an_incident_of_one_event_had_one_event() -> None:
    assert "1 fatal event over" in build_message(notice(facts=Recovery(1, NOW, NOW)))["embeds"][0]["description"]


def test_a_very_long_incident_reads_well() -> None:
    message = build_message(notice(facts=Recovery(2, NOW, NOW + 10**10)))
    assert "over over" not in message["embeds"][0]["description"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_test_message_names_the_level_and_the_source(level: str) -> None:
    (embed,) = build_test_message("Payments `API`", level)["embeds"]
    assert embed["color"] == LEVELS[level].colour
    assert level in embed["description"].lower()
    assert "`Payments ˋAPIˋ`" in embed["description"]
