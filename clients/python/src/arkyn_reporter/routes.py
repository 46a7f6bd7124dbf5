"""The route's template of a request, such as ``/orders/{id}``, where the framework knows it.

With it, all requests of a route are of one kind. Werkzeug, Django, Starlette and Litestar write ``<int:id>``,
``<int:pk>`` or ``(?P<pk>[0-9]+)``, ``{id:int}`` and ``{id:int}``; here all of them become ``{id}``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# Where our hooks leave a template, in an environ or a scope.
ROUTE = "arkyn_reporter.route"
_ANGLES = re.compile(r"<(?:[^<>]*:)?\s*([^<>:]+?)\s*>")
_BRACES = re.compile(r"\{([^{}:]+):[^{}]*\}")
_NAMED_GROUP = re.compile(r"\(\?P<(\w+)>")
_AFTER_GROUP = "?*+"


@lru_cache(maxsize=1_024)
def to_braces(rule: str) -> str:
    """``/orders/<int:id>`` and ``/orders/{id:int}`` as ``/orders/{id}``."""
    return _BRACES.sub(r"{\1}", _ANGLES.sub(r"{\1}", rule))


@lru_cache(maxsize=1_024)
def from_django(route: str) -> str:
    """A ``ResolverMatch.route``, which holds paths, regular expressions, or both, as a path with braces."""
    if not re.search(r"[\^$\\(]", route):
        return "/" + to_braces(route)
    path = re.sub(r"\\([AZzbB])", "", _without_groups(route)).replace("^", "").replace("$", "")
    return "/" + to_braces(re.sub(r"\\(.)", r"\1", path)).replace("/?", "/").lstrip("/")


def _without_groups(expression: str) -> str:
    """The regular expression with each named group as ``{name}``, and each other group as ``{}``."""
    parts: list[str] = []
    at = 0
    while at < len(expression):
        if expression[at] == "\\":
            parts.append(expression[at : at + 2])
            at += 2
        elif expression[at] == "(":
            name = _NAMED_GROUP.match(expression, at)
            parts.append("{" + (name[1] if name else "") + "}")
            at = _after_group(expression, at)
        else:
            parts.append(expression[at])
            at += 1
    return "".join(parts)


def _after_group(expression: str, start: int) -> int:
    """Where the group that opens at ``start`` is over."""
    depth, at, in_class = 0, start, False
    while at < len(expression):
        character = expression[at]
        if character == "\\":
            at += 1
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        else:
            depth += (character == "(") - (character == ")")
            if depth == 0:
                at += 1
                break
        at += 1
    return at + 1 if expression[at : at + 1] and expression[at] in _AFTER_GROUP else at


def wsgi_route(environ: Mapping[str, Any]) -> str | None:
    """What our hook in Django, or Flask's request tells. Flask's is gone once the response is made."""
    template = environ.get(ROUTE)
    if template is not None:
        return str(template)
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return to_braces(rule.rule) if rule is not None else None


def asgi_route(scope: Mapping[str, Any], path: str) -> str | None:
    """What Litestar, our hook in Quart, or Starlette's path parameters tell, of a request for ``path``."""
    template = scope.get(ROUTE) or scope.get("path_template")
    if template:
        return to_braces(str(template))
    parameters = scope.get("path_params")
    return _with_names(path, parameters) if parameters else None


def _with_names(path: str, parameters: Mapping[str, Any]) -> str:
    """``path`` with the names of its parameters in place of their values: the last one is looked for first.

    Starlette's routes hold only what follows their mount; the parameters are those of all mounts.
    """
    segments = path.split("/")
    end = len(segments)
    for name, value in reversed(parameters.items()) if isinstance(parameters, dict) else ():
        start, length = _find(segments[:end], value)
        if length:
            segments[start : start + length] = ["{" + name + "}"]
            end = start
    return "/".join(segments)


def _find(segments: list[str], value: Any) -> tuple[int, int]:
    """Where the last segments are that stand for the value, and how many they are."""
    wanted = str(value).split("/")
    for start in range(len(segments) - len(wanted), -1, -1):
        if segments[start : start + len(wanted)] == wanted or _is_same(segments[start], value):
            return start, len(wanted)
    return 0, 0


def _is_same(segment: str, value: Any) -> bool:
    """Whether a converter made ``value`` of the segment: ``007`` is 7, and UUIDs come in capitals, too."""
    if isinstance(value, str) or value is None:
        return False
    try:
        return bool(type(value)(segment) == value)
    except Exception:
        return False


def hook_into_quart() -> None:
    """Have Quart leave the rule of each request in its scope, by its own signal. Does nothing without Quart."""
    quart = sys.modules.get("quart")
    if quart is not None:
        quart.request_finished.connect(_leave_quart_rule, weak=False)


async def _leave_quart_rule(_app: Any, **_values: Any) -> None:
    request = sys.modules["quart"].request
    if request.url_rule is not None:
        request.scope[ROUTE] = request.url_rule.rule


def hook_into_django(app: Any) -> None:
    """Have a handler of Django leave the route of each request in its environ or scope. Does nothing to other apps."""
    request_class = getattr(app, "request_class", None)
    if "django" in sys.modules and isinstance(request_class, type):
        app.request_class = type(request_class.__name__, (_LeavesRoute, request_class), {})


class _LeavesRoute:
    """A request of Django that notes the route which its handler finds for it."""

    @property
    def resolver_match(self) -> Any:
        return self.__dict__.get("resolver_match")

    @resolver_match.setter
    def resolver_match(self, match: Any) -> None:
        self.__dict__["resolver_match"] = match
        if match is not None:
            held = self.__dict__.get("scope") or self.__dict__["environ"]
            held[ROUTE] = from_django(match.route)
