"""Reads request bodies, and unpacks those compressed with gzip."""

import zlib
from collections.abc import Iterator

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from app.greenlets import yielding

# The key of a request's WSGI environment for the function that counts the bytes which its body takes in memory.
# app/api/deadlines.py sets it; only under gunicorn.
HOLD = "app.hold"
GZIP = 16 + zlib.MAX_WBITS
PIECE_BYTES = 65_536


def unpacked(request: Request, limit: int) -> bytes:
    """The body, of ``limit`` bytes at most both as it comes and unpacked.

    Raises UnsupportedMediaType, RequestEntityTooLarge, BadRequest, and Unavailable if all bodies take too much memory.
    """
    request.max_content_length = limit
    coding = (request.content_encoding or "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise UnsupportedMediaType("Content-Encoding may be gzip, or none.")
    body = request.get_data()
    if request.content_length is None and len(body) >= limit:
        # werkzeug cuts a chunked body off at the limit instead of refusing it.
        raise RequestEntityTooLarge
    return body if coding == "identity" else _gunzipped(body, request, limit)


def _gunzipped(body: bytes, request: Request, limit: int) -> bytes:
    """Under gunicorn, unpacked bytes count like those read: a small body must not take more memory than a large one."""
    hold = request.environ.get(HOLD)
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in yielding(_pieces(body)):
            size += len(piece)
            if size > limit:
                raise RequestEntityTooLarge
            if hold:
                hold(len(piece))
            pieces.append(piece)
    except (zlib.error, EOFError):
        raise BadRequest("The request body is not gzip, as Content-Encoding says.") from None
    return b"".join(pieces)


def _pieces(body: bytes) -> Iterator[bytes]:
    """The unpacked body in pieces. Raises zlib.error or EOFError unless ``body`` is one complete gzip stream."""
    unzip = zlib.decompressobj(GZIP)
    for start in range(0, len(body), PIECE_BYTES):
        if unzip.eof:
            raise EOFError
        rest = body[start : start + PIECE_BYTES]
        is_full = True
        while is_full and not unzip.eof:
            piece = unzip.decompress(rest, PIECE_BYTES)
            is_full = len(piece) == PIECE_BYTES
            rest = unzip.unconsumed_tail
            yield piece
    if not unzip.eof or unzip.unused_data:
        raise EOFError
