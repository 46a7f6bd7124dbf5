"""Reports HTTP traffic to arkyn webhooks: a WSGI and an ASGI middleware, and a plain ``report()``."""

from arkyn_reporter.reporter import Reporter
from arkyn_reporter.version import __version__

__all__ = ["Reporter", "__version__"]
