"""How each severity level looks in messages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    word: str
    colour: int
    symbol: str


LEVELS = {
    "fatal": Level("Fatal", 0xD93F3F, "🔴"),
    "warning": Level("Warning", 0xE8A317, "🟠"),
    "info": Level("Info", 0x3B82F6, "🔵"),
}
