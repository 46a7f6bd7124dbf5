"""Static files, at addresses that hold a hash of their content, so that browsers may keep them."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, request, url_for
from werkzeug.exceptions import NotFound

from app.console.blueprint import blp, public

FOLDER = Path(__file__).parent / "static"
A_YEAR = "public, max-age=31536000, immutable"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    content: bytes
    compressed: bytes
    digest: str
    mimetype: str


def init_app(app: Flask) -> None:
    app.jinja_env.globals.update(asset=url_of)


@cache
def load() -> dict[str, Asset]:
    """The files by name. They are few and small, and read once."""
    return {file.name: _asset(file) for file in FOLDER.iterdir() if file.suffix in TYPES}


def _asset(file: Path) -> Asset:
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    mimetype = mimetypes.types_map.get(file.suffix, TYPES[file.suffix])
    return Asset(content, gzip.compress(content, mtime=0), digest, mimetype)


def url_of(name: str) -> str:
    return url_for("console.static_file", digest=load()[name].digest, name=name)


@blp.get("/static/<digest>/<name>")
@public
def static_file(digest: str, name: str) -> Any:
    asset = load().get(name)
    if asset is None:
        raise NotFound
    response = Response(asset.content, mimetype=asset.mimetype)
    response.headers["Vary"] = "Accept-Encoding"
    if request.accept_encodings["gzip"]:
        response.set_data(asset.compressed)
        response.headers["Content-Encoding"] = "gzip"
    if digest == asset.digest:
        response.headers["Cache-Control"] = A_YEAR
    return response
