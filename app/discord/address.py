"""Parses a webhook's ``value``: a Discord channel ID or a Discord webhook URL."""

import hashlib
import re
from dataclasses import dataclass, field, replace

CHANNEL = re.compile(r"[0-9]{1,20}")
WEBHOOK_URL = re.compile(
    r"(?P<before>https://(?:discord\.com|discordapp\.com|ptb\.discord\.com|canary\.discord\.com)"
    r"/api/(?:v[0-9]{1,2}/)?webhooks/(?P<id>[0-9]{1,20})/)"
    r"(?P<token>[A-Za-z0-9_-]{1,200})"
    r"(?P<after>(?:\?thread_id=(?P<thread_id>[0-9]{1,20}))?)"
)
EXPECTED = (
    "Must be a Discord channel ID (1 to 20 digits, a 64-bit number) or a Discord webhook URL "
    "(https://discord.com/api/webhooks/{id}/{token})."
)
CHANNEL_LINK = re.compile(r"https://(?:\w+\.)?discord(?:app)?\.com/channels/.*")
EXPECTED_OF_LINK = (
    "Must be a Discord channel ID or a Discord webhook URL, not a link to a channel: in "
    "https://discord.com/channels/{server}/{channel}, the ID is the second number."
)
MAX_SNOWFLAKE = 2**64 - 1


@dataclass(frozen=True)
class Address:
    """A parsed address. ``template`` is the value as given with ``{token}`` in place of the secret.

    ``token`` is None for a channel, and empty if it could not be decrypted.
    """

    template: str
    id: int
    token: str | None = field(default=None, repr=False)
    thread_id: int | None = None

    @property
    def destination_id(self) -> str:
        """The key of claims and limits, without the secret.

        For a webhook it contains a hash of the token: a user who only knows the id must not share its destination.
        """
        if self.token is None:
            return f"{self.kind}/{self.id}"
        return f"{self.kind}/{self.id}/{hashlib.sha256(self.token.encode()).hexdigest()[:16]}"

    @property
    def kind(self) -> str:
        """``channels``, to which the bot posts, or ``webhooks``, which need no bot."""
        return "channels" if self.token is None else "webhooks"


def parse_address(value: str) -> Address:
    """Parse a ``value``. Raises ValueError, whose text names the expected forms but not the value: it may be secret."""
    if CHANNEL.fullmatch(value):
        address = Address(template=value, id=int(value))
    elif match := WEBHOOK_URL.fullmatch(value):
        thread_id = match["thread_id"]
        address = Address(
            template=f"{match['before']}{{token}}{match['after']}",
            id=int(match["id"]),
            token=match["token"],
            thread_id=int(thread_id) if thread_id else None,
        )
    else:
        raise ValueError(EXPECTED_OF_LINK if CHANNEL_LINK.match(value) else EXPECTED)
    if max(address.id, address.thread_id or 0) > MAX_SNOWFLAKE:
        raise ValueError(EXPECTED)
    return address


def stored_address(template: str, token: str | None) -> Address:
    """The address that is stored as ``template`` and ``token``. Raises ValueError for an invalid template."""
    return replace(parse_address(template.replace("{token}", "-")), token=token)
