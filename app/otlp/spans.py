"""The span that both encodings of OTLP are read into, and the errors of reading one."""

from collections.abc import Callable
from typing import NamedTuple

Attribute = str | int | float


class Unreadable(ValueError):
    """A body is no ExportTraceServiceRequest."""


class TooManyFields(ValueError):
    """A body holds more fields than a request may have."""


class Unusable(ValueError):
    """A span cannot become a report. The message quotes nothing of it."""


class Span(NamedTuple):
    """A span of kind SERVER.

    Ids are lower-case hexadecimal, empty if they are missing or malformed. Times are nanoseconds since 1970 of at most
    20 digits, 0 if they are missing. Holds only the attributes in ``ATTRIBUTES``.
    """

    trace_id: str
    span_id: str
    start: int
    end: int
    is_error: bool
    attributes: dict[str, Attribute]
    service_name: Callable[[], str]


SERVICE_NAME = "service.name"
# The stable names of the semantic conventions for HTTP, and the older ones.
ATTRIBUTES = frozenset(
    {
        *("http.request.method", "http.request.method_original", "http.response.status_code", "http.route"),
        *("url.scheme", "url.full", "url.path", "url.query", "server.address", "server.port", "user_agent.original"),
        *("http.method", "http.status_code", "http.scheme", "http.host", "http.server_name", "http.target", "http.url"),
        *("net.host.name", "net.host.port", "http.user_agent"),
        *("user.id", "enduser.id"),
    }
)
MAX_ATTRIBUTES = 1_000
TOO_MANY_ATTRIBUTES = "a span has too many attributes"
