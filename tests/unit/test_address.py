"""What is taken for a Discord address, and what is not."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.discord.address import EXPECTED, Address, parse_address
from tests.support import examples

HOSTS = ["discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"]
ID = "987654321012345678"
TOKEN = "canary-Token_0123456789"
URL = f"https://discord.com/api/webhooks/{ID}/{TOKEN}"

OTHER_HOSTS = [
    "discord.com.evil.example",
    "evil-discord.com",
    "evil.discord.com",
    "ptb.discordapp.com",
    "discord.co",
    "discord.com.",
    "discord.com:443",
    "discord.com:8080",
    "DISCORD.COM",
    "Discord.com",
    "discordXcom",
    "ptbXdiscord.com",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "169.254.169.254",
    "discord\N{FULLWIDTH FULL STOP}com",
    "d\N{CYRILLIC SMALL LETTER I}scord.com",
    "user@discord.com",
    "user:password@discord.com",
    "discord.com@evil.example",
    "discord.com%40evil.example",
    "discord.com%00.evil.example",
    "evil.example\\@discord.com",
    "evil.example#@discord.com",
    "evil.example?@discord.com",
    "evil.example/discord.com",
    "",
]

OTHER_PATHS = [
    "/api/webhooks/{id}/{token}/",
    "/api/webhooks/{id}/{token}/slack",
    "/api/webhooks/{id}/{token}/github",
    "/api/webhooks/{id}/{token}/messages/1",
    "/api/webhooks/{id}/{token}/..",
    "/api/webhooks/{id}/../{token}",
    "/api/../api/webhooks/{id}/{token}",
    "/api/./webhooks/{id}/{token}",
    "/api//webhooks/{id}/{token}",
    "//api/webhooks/{id}/{token}",
    "/api/webhooks//{id}/{token}",
    "/api/webhooks/{id}//{token}",
    "/api/webhooks/{id}/%2e%2e/{token}",
    "/api/webhooks/{id}/{token}%2F..",
    "/api/webhooks/{id}%2F{token}",
    "/api/webhooks/{id}\\{token}",
    "/api/webhooks/{id}/{token};a=b",
    "/api/webhooks/{id}/{token}.",
    "/api/webhooks/{id}/{token}\N{LATIN SMALL LETTER E WITH ACUTE}",
    "/api/webhooks/{id}/{token}{token}{token}{token}{token}{token}{token}{token}{token}",
    "/api/webhooks/{id}/",
    "/api/webhooks/{id}",
    "/api/webhooks/{token}",
    "/api/webhooks/",
    "/api/webhooks/{id}a/{token}",
    "/api/webhooks/-1/{token}",
    "/api/webhooks/@me/{token}",
    "/api/channels/{id}/messages",
    "/webhooks/{id}/{token}",
    "/API/webhooks/{id}/{token}",
    "/api/Webhooks/{id}/{token}",
    "/api/v/webhooks/{id}/{token}",
    "/api/v100/webhooks/{id}/{token}",
    "/api/v-1/webhooks/{id}/{token}",
    "/api/V10/webhooks/{id}/{token}",
    "/api/v\N{ARABIC-INDIC DIGIT ONE}0/webhooks/{id}/{token}",
    "/api/10/webhooks/{id}/{token}",
    "/api/v10webhooks/{id}/{token}",
]

OTHER_ENDINGS = [
    "?",
    "#",
    "#fragment",
    "?wait=true",
    "?thread_id=",
    "?thread_id=a",
    "?thread_id=-1",
    "?thread_id=1&wait=true",
    "?wait=true&thread_id=1",
    "?thread_id=1&thread_id=2",
    "?thread_id=1#fragment",
    "?thread_id=1\n",
    "?thread_id=1/",
    "?Thread_id=1",
    "?thread_name=a",
    "?thread_id=\N{ARABIC-INDIC DIGIT ONE}",
    "?thread_id=111111111111111111111",
    f"?thread_id={2**64}",
    "&thread_id=1",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "\x00",
    "\x0b",
    "\x85",
    "\N{LINE SEPARATOR}",
    "\N{NO-BREAK SPACE}",
    "\N{ZERO WIDTH SPACE}",
    "\n.evil.example",
]

OTHER_SCHEMES = ["http", "HTTPS", "Https", "ftp", "file", "javascript", "", " https", "\nhttps", "https:https"]

OTHER_CHANNELS = [
    "",
    " ",
    "abc",
    "-1",
    "+1",
    "1.0",
    "1e3",
    "0x1f",
    "1_000",
    "1,000",
    "#general",
    "<#123>",
    "@me",
    "123/456",
    "../123",
    "123 ",
    " 123",
    "123\n",
    "\n123",
    "123\r\n",
    "123\x00",
    "123\n456",
    "123\N{ZERO WIDTH SPACE}",
    "111111111111111111111",
    str(2**64),
    "99999999999999999999",
    "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}",
    "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}",
    "12\N{DEVANAGARI DIGIT THREE}",
    "\N{SUPERSCRIPT TWO}",
    "\N{CIRCLED DIGIT ONE}",
    "\N{ROMAN NUMERAL ONE}",
]

REFUSED = [
    *OTHER_CHANNELS,
    *[f"https://{host}/api/webhooks/{ID}/{TOKEN}" for host in OTHER_HOSTS],
    *["https://discord.com" + path.format(id=ID, token=TOKEN) for path in OTHER_PATHS],
    *[URL + ending for ending in OTHER_ENDINGS],
    *[f"{scheme}://discord.com/api/webhooks/{ID}/{TOKEN}" for scheme in OTHER_SCHEMES],
    *[start + URL for start in (" ", "\n", "\ufeff", "<", "view-source:", "https://evil.example/", f"{ID} ")],
    *[URL.replace(ID, number) for number in (str(2**64), "1" * 21, "\N{FULLWIDTH DIGIT ONE}", "", " 1", "1 ")],
    f"//discord.com/api/webhooks/{ID}/{TOKEN}",
    f"https:/discord.com/api/webhooks/{ID}/{TOKEN}",
    f"https:\\\\discord.com/api/webhooks/{ID}/{TOKEN}",
    f"discord.com/api/webhooks/{ID}/{TOKEN}",
    URL + URL,
    f"{URL}\n{URL}",
    URL.replace(TOKEN, "{token}"),
]


@pytest.mark.parametrize("ending", ["", "?thread_id=7", f"?thread_id={2**64 - 1}"])
@pytest.mark.parametrize("version", ["", "v6/", "v9/", "v10/"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_webhook_url_is_taken_apart(host: str, version: str, ending: str) -> None:
    address = parse_address(f"https://{host}/api/{version}webhooks/{ID}/{TOKEN}{ending}")
    assert address == Address(
        template=f"https://{host}/api/{version}webhooks/{ID}/{{token}}{ending}",
        id=int(ID),
        token=TOKEN,
        thread_id=int(ending.partition("=")[2]) if ending else None,
    )
    assert address.kind == "webhooks"
    assert re.fullmatch(f"webhooks/{ID}/[0-9a-f]{{16}}", address.destination_id)
    assert TOKEN not in address.destination_id


def test_a_webhooks_id_with_another_token_is_another_destination() -> None:
    """Its id may be known to others, who must not hold it up."""
    urls = [f"https://discord.com/api/webhooks/{ID}/{token}{after}" for token in "ab" for after in ("", "?thread_id=7")]
    destinations = [parse_address(url).destination_id for url in urls]
    assert destinations[0] == destinations[1] != destinations[2] == destinations[3]


@pytest.mark.parametrize("token", ["a", "-", "_", "A-Z_0", "x" * 68, "x" * 200])
def test_a_webhook_token_has_any_usual_length(token: str) -> None:
    assert parse_address(URL.replace(TOKEN, token)).token == token


@pytest.mark.parametrize("value", ["0", "7", "123456789", "1" * 19, "00000000000000000007", str(2**64 - 1)])
def test_a_channel_id_is_a_64_bit_number(value: str) -> None:
    address = parse_address(value)
    assert address == Address(template=value, id=int(value))
    assert (address.kind, address.destination_id) == ("channels", f"channels/{int(value)}")


@pytest.mark.parametrize("value", REFUSED)
def test_anything_else_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_address(value)
    assert refusal.value.args == (EXPECTED,)
    assert refusal.value.__context__ is None


@pytest.mark.parametrize("host", ["discord.com", "ptb.discord.com", "discordapp.com"])
@pytest.mark.parametrize("end", ["", "/1223372036854775807"])
def test_who_copies_a_link_to_a_channel_is_told_where_in_it_the_id_is(host: str, end: str) -> None:
    with pytest.raises(ValueError, match="the ID is the second number") as refusal:
        parse_address(f"https://{host}/channels/9223372036854775807/123456789{end}")
    assert "123456789" not in str(refusal.value)


def test_an_address_does_not_show_its_token() -> None:
    address = parse_address(f"{URL}?thread_id=7")
    assert address.token == TOKEN
    assert TOKEN not in repr(address)
    assert TOKEN not in str(address)
    assert TOKEN not in address.template
    assert TOKEN not in address.destination_id


@st.composite
def almost_addresses(draw: st.DrawFn) -> str:
    """An accepted value in which a little was deleted, replaced or put in."""
    value = draw(st.sampled_from([URL, f"{URL}?thread_id=7", URL.replace("/api/", "/api/v10/"), "123456789"]))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(value)))
        end = start + draw(st.integers(0, 2))
        value = value[:start] + draw(st.text("/.:@?#&=%\\\n 0a٣\N{FULLWIDTH DIGIT ONE}{}", max_size=2)) + value[end:]
    return value


@examples(250)
@given(st.one_of(st.text(), almost_addresses(), st.from_regex(r"\A\d{1,21}\Z")))
@example(URL)
@example("")
def test_whatever_is_taken_is_discords_and_can_be_put_together_again(value: str) -> None:
    try:
        address = parse_address(value)
    except ValueError:
        return
    assert address.template.replace("{token}", address.token or "") == value
    assert 0 <= address.id < 2**64
    if address.token is None:
        assert value.isascii()
        assert value.isdigit()
        return
    url = urlsplit(value)
    path = url.path.split("/")
    assert (url.scheme, url.username, url.port, url.fragment) == ("https", None, None, "")
    assert url.netloc in HOSTS
    assert path[-3:] == ["webhooks", path[-2], address.token]
    assert int(path[-2]) == address.id
    assert parse_qs(url.query) == ({"thread_id": [url.query[10:]]} if address.thread_id is not None else {})
