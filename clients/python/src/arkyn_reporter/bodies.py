"""Bodies, where the application wants them reported: copied while they pass, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

# A longer body cannot be redacted field by field, for it would have to be cut.
MAX_BODY_BYTES = 65_536
TOO_LONG = b'"[not kept: too long]"'


class Preview:
    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, part: bytes) -> None:
        if not part or self._length > MAX_BODY_BYTES:
            return
        self._length += len(part)
        self._parts.append(bytes(part))
        if self._length > MAX_BODY_BYTES:
            self._parts = [TOO_LONG]

    def add_all(self, parts: Iterable[bytes]) -> None:
        for part in parts:
            self.add(part)

    def text(self) -> bytes | None:
        """The body; None where it is empty."""
        return b"".join(self._parts) or None


class ReadAlong:
    """``wsgi.input``, of which a copy is kept of what the application reads."""

    def __init__(self, stream: Any, preview: Preview) -> None:
        self._stream = stream
        self._preview = preview

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[bytes]:
        for line in self._stream:
            yield self._kept(line)

    def read(self, *size: Any) -> bytes:
        return self._kept(self._stream.read(*size))

    def readline(self, *size: Any) -> bytes:
        return self._kept(self._stream.readline(*size))

    def readlines(self, *hint: Any) -> list[bytes]:
        lines: list[bytes] = self._stream.readlines(*hint)
        self._preview.add_all(lines)
        return lines

    def _kept(self, part: bytes) -> bytes:
        self._preview.add(part)
        return part


def is_reportable(content_type: str) -> bool:
    """Whether bodies of this type are text that a person can read."""
    kind = content_type.partition(";")[0].strip().lower()
    return (
        kind.startswith("text/")
        or kind.endswith(("/json", "+json", "/xml", "+xml"))
        or kind == "application/x-www-form-urlencoded"
    )
