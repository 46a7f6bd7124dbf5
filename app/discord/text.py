"""Makes reported text harmless in Discord's messages: one line, visible, without markdown, truncated. Pure.

Lengths are in UTF-16 code units, the larger of the two counts that Discord's clients and servers use.
"""

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Unicode categories of characters that are invisible, reverse text or break lines.
HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Invisible characters of other categories: Unicode's Default_Ignorable_Code_Point, and the braille blank.
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0").union(
    *(map(chr, range(first, last + 1)) for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xFFF0, 0xFFF8))),
    map(chr, range(0xE0000, 0xE1000)),
)
# Both are kept within an emoji: one turns the symbol before it into an emoji, the other joins two emoji.
EMOJI_SELECTOR = "\ufe0f"
ZERO_WIDTH_JOINER = "\u200d"
# Besides a symbol, the selector or a skin tone may end the first of two joined emoji.
EMOJI_ENDINGS = frozenset("\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
# A keycap emoji is one of KEYCAPS, the selector and this mark.
KEYCAPS = frozenset("0123456789#*")
KEYCAP = "\N{COMBINING ENCLOSING KEYCAP}"


def code(text: str, limit: int) -> str:
    """Inline code, in which Discord renders no markdown, mentions or links."""
    return f"`{code_line(text, limit)}`"


def code_line(text: str, limit: int) -> str:
    return plain(text, limit).replace("`", "ˋ")


def plain(text: str, limit: int) -> str:
    """One line of 1 to ``limit`` UTF-16 code units, without invisible or reversing characters.

    A longer text loses its middle, since a path's start and end identify it best.
    """
    line = visible(text).strip() or "-"
    return line if _length(line) <= limit else visible(_without_middle(line, limit))


def visible(text: str) -> str:
    """``text`` with REPLACEMENT for each invisible character."""
    shown: list[str] = []
    for character, after in zip(text, text[1:] + " ", strict=False):
        before = shown[-1] if shown else " "
        shown.append(character if _is_visible(character, before, after) else REPLACEMENT)
    return "".join(shown)


def _is_visible(character: str, before: str, after: str) -> bool:
    if character.isascii():
        return character.isprintable()
    if character == EMOJI_SELECTOR:
        return _is_symbol(before) or (before in KEYCAPS and after == KEYCAP)
    if character == ZERO_WIDTH_JOINER:
        return (before in EMOJI_ENDINGS or _is_symbol(before)) and _is_symbol(after)
    return character not in INVISIBLE and unicodedata.category(character) not in HIDDEN_CATEGORIES


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) == "So" and character not in INVISIBLE and character != REPLACEMENT


def _without_middle(text: str, limit: int) -> str:
    units = text.encode("utf-16-le")
    head, tail = units[: limit // 2 * 2], units[-((limit - 1) // 2) * 2 :]
    return "…".join(part.decode("utf-16-le", errors="ignore") for part in (head, tail))


def _length(text: str) -> int:
    """The length in UTF-16 code units."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
