"""SQLAlchemy models of all tables."""

from app.models.alert import Alert
from app.models.delivery import Delivery, DeliveryAttempt, DispatcherHeartbeat, OutcomeCount
from app.models.series import SeriesPoint, SeriesPosition
from app.models.share import Share
from app.models.traffic import Domain, Pathname, TrafficRecord
from app.models.traffic_source import IngestToken, TrafficSource
from app.models.user import PasswordLink, RevokedToken, User
from app.models.webhook import Destination, DiscordLimit, PolicyCount, RefusalCount, SeenKind, Webhook

__all__ = [
    "Alert",
    "Delivery",
    "DeliveryAttempt",
    "Destination",
    "DiscordLimit",
    "DispatcherHeartbeat",
    "Domain",
    "IngestToken",
    "OutcomeCount",
    "PasswordLink",
    "Pathname",
    "PolicyCount",
    "RefusalCount",
    "RevokedToken",
    "SeenKind",
    "SeriesPoint",
    "SeriesPosition",
    "Share",
    "TrafficRecord",
    "TrafficSource",
    "User",
    "Webhook",
]
