"""The tables."""

from app.models.delivery import Delivery, DispatcherHeartbeat
from app.models.traffic import Domain, Pathname, TrafficRecord
from app.models.traffic_source import IngestToken, TrafficSource
from app.models.user import RevokedToken, User
from app.models.webhook import Destination, Webhook

__all__ = [
    "Delivery",
    "Destination",
    "DispatcherHeartbeat",
    "Domain",
    "IngestToken",
    "Pathname",
    "RevokedToken",
    "TrafficRecord",
    "TrafficSource",
    "User",
    "Webhook",
]
