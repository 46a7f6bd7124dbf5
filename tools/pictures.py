"""``make pictures``: takes the README's pictures with a headless Chromium.

One is of a message, drawn as Discord draws it; the others are of the console, with the demo's data.

``python -m tools.pictures --page FILE.html`` writes one page of all sorts of messages instead. Its left column is as
wide as an embed on a desktop, its right one as a narrow phone.
"""

import argparse
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page

from app.digests import Digest, Event, Recovery
from app.discord.message import build_message, build_test_message
from tools import browser as chromium
from tools import demo
from tools.fake_discord import Discord
from tools.processes import eventually
from tools.story import PASSWORD

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
PICTURE = FOLDER / "message.png"
# Chromium's smallest window.
WIDTH_PIXELS, HEIGHT_PIXELS = 500, 338
CONSOLE_PIXELS = {"width": 1000, "height": 900}
MAX_BYTES = 60_000

NOW_MILLISECONDS = 1_753_108_200_000
SHOP, BILLING, SEARCH = "api.shop.example.com", "billing.shop.example.com", "search.internal.example.com"
ENDPOINTS = [
    ("post", SHOP, "/v1/checkout", 503),
    ("post", SHOP, "/v1/checkout", 504),
    ("get", SHOP, "/v1/carts/{}", 500),
    ("get", SEARCH, "/v2/suggestions", 503),
    ("post", BILLING, "/v1/customers/{}/payment-methods/{}/verifications", 502),
    ("put", SHOP, "/api/v2/organisations/{}/projects/{}/environments/production/deployments/{}/log-streams", 500),
    ("get", SHOP, "/v1/orders/{}", 500),
    ("get", SHOP, "/v1/orders/{}", 503),
    ("delete", SHOP, "/v1/sessions/{}", 500),
]

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Messages</title>
<style>
body { margin: 0; padding: 16px; background: #313338; color: #dbdee1; font: 16px/1.375 "gg sans", "Noto Sans",
  "Liberation Sans", sans-serif; }
h2 { margin: 24px 0 8px; color: #949ba4; font-size: 12px; text-transform: uppercase; }
.pair { display: flex; gap: 32px; align-items: flex-start; }
.desktop { width: 520px; }
.phone { width: 360px; box-sizing: border-box; padding: 8px 12px 8px 64px; background: #2b2d31; }
.embed { box-sizing: border-box; max-width: 520px; width: fit-content; margin-top: 4px; padding: 8px 16px 16px 12px;
  border-left: 4px solid; border-radius: 4px; background: #2b2d31; font-size: 14px; line-height: 1.286;
  overflow-wrap: anywhere; }
.phone .embed { padding-right: 12px; background: #232428; }
.author { margin-top: 8px; font-size: 14px; font-weight: 600; color: #f2f3f5; }
.title { margin-top: 8px; font-size: 16px; font-weight: 600; color: #f2f3f5; }
.description { margin-top: 8px; white-space: pre-wrap; }
.footer { margin-top: 8px; font-size: 12px; color: #949ba4; }
code { padding: 1px 3px; border-radius: 4px; background: #1e1f22; white-space: pre-wrap; font: 85% "DejaVu Sans Mono",
  "Liberation Mono", monospace; }
pre { margin: 4px 0; padding: 7px; border: 1px solid #1e1f22; border-radius: 4px; background: #1e1f22;
  white-space: pre-wrap; font: 12px/16px "DejaVu Sans Mono", "Liberation Mono", monospace; }
.chat { display: flex; gap: 16px; }
.chat .avatar { width: 40px; height: 40px; flex: none; border-radius: 50%; background: #5865f2; color: #fff;
  font: 600 20px/40px "gg sans", "Noto Sans", "Liberation Sans", sans-serif; text-align: center; }
.chat .sender { margin-bottom: 2px; font-weight: 600; color: #f2f3f5; }
.chat .sender span { margin: 0 4px; padding: 1px 5px; border-radius: 4px; background: #5865f2; color: #fff;
  font-size: 10px; font-weight: 600; vertical-align: 2px; }
.chat .sender small { color: #949ba4; font-size: 12px; font-weight: 400; }
time { padding: 0 2px; border-radius: 3px; background: #4e50587a; }
</style>
"""


def main() -> str | None:
    """The problem, for ``sys.exit``, or None."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="write messages of every kind there")
    page = parser.parse_args().page
    if page:
        drawn = [_pair(name, message) for name, message in _messages()]
        page.write_text("\n".join([PAGE, *drawn]))
        return None
    return take(PICTURE) or take_console(FOLDER)


def take(picture: Path) -> str | None:
    """Write the picture. Returns the problem, or None."""
    browser = chromium.find()
    if browser is None:
        print("SKIPPED: no picture was taken, since there is no Chromium (Debian: apt install chromium).")
        return None
    with tempfile.TemporaryDirectory(prefix="pictures") as folder:
        page = Path(folder) / "message.html"
        page.write_text(f"{PAGE}{_in_a_channel(_storm())}")
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
        options += [
            f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTH_PIXELS},{HEIGHT_PIXELS}",
            f"--screenshot={picture}",
        ]
        picture.parent.mkdir(exist_ok=True)
        command = [browser, *options, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        return done.stderr
    size = picture.stat().st_size
    print(f"{picture}: {size:,} bytes")
    return f"More than {MAX_BYTES:,} bytes." if size > MAX_BYTES else None


def take_console(folder: Path) -> str | None:
    """Write pictures of three pages of the console. Returns the problem, or None."""
    if chromium.find() is None:
        return None
    discord = Discord(bot_token=secrets.token_urlsafe()).start()
    try:
        with demo.started_service(discord) as service, chromium.started() as browser:
            service.client.sign_up(demo.EMAIL)
            story = demo.add_shop(service)
            eventually(lambda: discord.messages, "a message arrives")
            options: dict[str, Any] = {"timezone_id": "UTC", "locale": "en-GB", "viewport": CONSOLE_PIXELS}
            page = browser.new_page(base_url=service.server.url, **options)
            page.goto("/console/sign-in")
            page.get_by_label("E-mail").fill(demo.EMAIL)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("link", name="Shop").click()
            page.get_by_text("Most failing").wait_for()
            _shoot(page, folder / "overview.png")
            failing = {"level": "fatal", "pathname": "/checkout"}
            page.goto(f"/console/sources/{story.source_id}/traffic?{urlencode(failing)}")
            page.locator(".records a").first.click()
            page.get_by_role("heading", name="Response").wait_for()
            _shoot(page, folder / "record.png")
            page.get_by_role("link", name="Webhooks").click()
            page.get_by_role("button", name="Mute").first.wait_for()
            _shoot(page, folder / "webhooks.png")
    finally:
        discord.stop()
    return None


def _shoot(page: Page, picture: Path) -> None:
    page.screenshot(path=picture)
    print(f"{picture}: {picture.stat().st_size:,} bytes")


def _storm() -> dict[str, Any]:
    """A message of 4,000 events of three kinds on one host."""
    return _message([ENDPOINTS[0], ENDPOINTS[2], ENDPOINTS[6]], 4_000)


def _in_a_channel(message: dict[str, Any]) -> str:
    sender = '<div class="sender">Traffic <span>APP</span> <small>Today at 14:40</small></div>'
    return f'<div class="chat"><div class="avatar">T</div><div>{sender}{_drawn(message)}</div></div>'


def _messages() -> Iterator[tuple[str, dict[str, Any]]]:
    one, two = ("get", SHOP, "/v1/orders/{}", 500), ("get", SHOP, "/v1/orders/{}", 503)
    on_one_host = [kind for kind in ENDPOINTS if kind[1] == SHOP]
    more = [("get", (SHOP, BILLING, SEARCH)[number % 3], f"/v1/page-{number}", 500) for number in range(168)]
    yield "One event", _message([one], 1)
    yield "One event of a long path", _message([ENDPOINTS[5]], 1)
    yield "Five equal events", _message([one], 5)
    yield "One path, two statuses", _message([one, two], 38)
    yield "100,000 events of 177 kinds on three hosts", _message(ENDPOINTS + more, 100_000)
    yield "A storm on one host", _message(on_one_host, 4_000)
    yield (
        "Warnings of one path on several hosts",
        _message([("get", host, "/health", 429) for host in (SHOP, BILLING)], 9),
    )
    yield (
        "A recovery",
        _built(Recovery(103_038, NOW_MILLISECONDS - 1_380_000, NOW_MILLISECONDS, NOW_MILLISECONDS + 600_000)),
    )
    yield "A test message", build_test_message("Shop", "fatal")


def _message(kinds: list[tuple[str, str, str, int]], count: int) -> dict[str, Any]:
    """A message of ``count`` events, whose kinds become less frequent from first to last."""
    random = Random(count)
    weights = [1 / (1 + number) for number in range(len(kinds))]
    events = []
    for number, (method, host, path, status) in enumerate(random.choices(kinds, weights, k=count)):
        identified = path.replace("{}", "{:d}").format(*random.choices(range(10**5, 10**6), k=path.count("{}")))
        at = NOW_MILLISECONDS - (count - number) * 40
        events.append(Event(method, host, identified, status, at, random.lognormvariate(5, 1), str(number)))
    return _built(Digest.of(events), "warning" if kinds[0][3] < 500 else "fatal")


def _built(digest: Digest | Recovery, level: str = "fatal") -> dict[str, Any]:
    return build_message(level, "Shop", digest)


def _pair(name: str, message: dict[str, Any]) -> str:
    drawn = _drawn(message)
    columns = f'<div class="desktop">{drawn}</div><div class="phone">{drawn}</div>'
    return f'<h2>{escape(name)}</h2>\n<div class="pair">{columns}</div>'


def _drawn(message: dict[str, Any]) -> str:
    parts = [f"<div>{_markdown(message.get('content', ''))}</div>"]
    for embed in message["embeds"]:
        parts += [
            f'<div class="embed" style="border-color: #{embed["color"]:06x}">',
            _part("author", escape(embed.get("author", {}).get("name", ""))),
            _part("title", _markdown(embed["title"])),
            _part("description", _markdown(embed["description"])),
            _part("footer", _footer(embed)),
            "</div>",
        ]
    return "".join(parts)


def _part(name: str, html: str) -> str:
    return f'<div class="{name}">{html}</div>' if html else ""


def _footer(embed: dict[str, Any]) -> str:
    if "timestamp" not in embed:
        return ""
    return f"Today at {datetime.fromisoformat(embed['timestamp']):%H:%M}"


def _markdown(text: str) -> str:
    """HTML of code blocks, inline code, bold text and times, the only markdown in messages."""
    html = re.sub("```\n(.*?)\n?```", r"<pre>\1</pre>", escape(text), flags=re.DOTALL)
    html = re.sub("`([^`]+)`", r"<code>\1</code>", html)
    html = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html)
    return re.sub(r"&lt;t:(-?\d+):(\w)&gt;", _time, html)


def _time(stamp: re.Match[str]) -> str:
    seconds, style = int(stamp[1]), stamp[2]
    moment = datetime.fromtimestamp(seconds, UTC)
    minutes_ago = (NOW_MILLISECONDS + 600_000) // 60_000 - seconds // 60
    text = {"R": f"{minutes_ago} minutes ago", "t": f"{moment:%H:%M}"}.get(style, f"{moment:%-d %B %Y %H:%M}")
    return f"<time>{text}</time>"


if __name__ == "__main__":
    sys.exit(main())
