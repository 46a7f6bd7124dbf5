"""Authorisation: the only module that decides who may use a traffic source and everything below it."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, ClassVar

from sqlalchemy import String

from app.errors import (
    AlertNotFound,
    DeliveryNotFound,
    InvalidToken,
    NotFound,
    NotInvited,
    NotYours,
    RecordNotFound,
    TrafficSourceNotFound,
    WebhookNotFound,
)
from app.extensions import Base
from app.models import Alert, Delivery, Share, TrafficRecord, TrafficSource, Webhook
from app.models.columns import NO_ID, Identifier
from app.repositories.statements import Statement

PARAMETERS = {"thing_id": Identifier, "source_id": Identifier, "user_id": Identifier, "token_hash": String()}

# FROM clauses that find a resource's traffic source by primary keys, and the error for a missing resource.
SOURCE_OF: dict[type[Base], tuple[str, type[NotFound]]] = {
    TrafficSource: ("traffic_sources WHERE traffic_sources.id = :thing_id", TrafficSourceNotFound),
    Webhook: (
        "webhooks JOIN traffic_sources ON traffic_sources.id = webhooks.traffic_source_id"
        " WHERE webhooks.id = :thing_id",
        WebhookNotFound,
    ),
    Alert: (
        "alerts JOIN traffic_sources ON traffic_sources.id = alerts.traffic_source_id WHERE alerts.id = :thing_id",
        AlertNotFound,
    ),
    Delivery: (
        "deliveries JOIN webhooks ON webhooks.id = deliveries.webhook_id"
        " JOIN traffic_sources ON traffic_sources.id = webhooks.traffic_source_id WHERE deliveries.id = :thing_id",
        DeliveryNotFound,
    ),
    TrafficRecord: (
        "http_traffic_records JOIN traffic_sources ON traffic_sources.id = http_traffic_records.traffic_source_id"
        " WHERE http_traffic_records.id = :thing_id",
        RecordNotFound,
    ),
}


class Role(IntEnum):
    """What somebody is to a traffic source and everything below it. Each may do what those before it may."""

    STRANGER = 0
    READER = 1
    EDITOR = 2
    OWNER = 3


ROLES = {"readOnly": Role.READER, "editor": Role.EDITOR}


@dataclass(frozen=True)
class SignedIn:
    """The holder of a sign-in token whose signature and expiry are valid."""

    user_id: str
    token_version: int
    token_hash: str

    # One row if the token is valid: the user exists, has not changed the password, and did not revoke the token.
    authenticated: ClassVar = """
        SELECT users.id AS user_id, NULL AS only_source_id FROM users
        WHERE users.id = :user_id AND users.token_version = :token_version
        AND NOT EXISTS (SELECT 1 FROM revoked_tokens WHERE revoked_tokens.token_hash = :token_hash)
    """
    # One row if the token is valid and its holder may report to the source.
    reportable: ClassVar = f"""
        SELECT 1 WHERE :user_id = (SELECT traffic_sources.user_id FROM traffic_sources WHERE id = :source_id)
        AND EXISTS ({authenticated})
    """  # noqa: S608 # nosec B608
    refusal: ClassVar = InvalidToken.message

    @property
    def values(self) -> dict[str, Any]:
        return {"user_id": self.user_id, "token_version": self.token_version, "token_hash": self.token_hash}


@dataclass(frozen=True)
class IngestTokenHolder:
    """The holder of an ingest token, who may only report to the source that it was issued for."""

    token_hash: str

    authenticated: ClassVar = """
        SELECT CAST(NULL AS uuid) AS user_id, ingest_tokens.traffic_source_id AS only_source_id FROM ingest_tokens
        WHERE ingest_tokens.token_hash = :token_hash
    """
    reportable: ClassVar = """
        SELECT 1 WHERE :source_id = (SELECT traffic_source_id FROM ingest_tokens WHERE token_hash = :token_hash)
    """
    refusal: ClassVar = "The provided ingest token is invalid or was revoked."

    @property
    def values(self) -> dict[str, Any]:
        return {"token_hash": self.token_hash}


Caller = SignedIn | IngestTokenHolder


@dataclass(frozen=True)
class Access:
    """The rights of a valid token's holder on a resource. ``owner_id`` is None if the resource is missing.

    ``permission`` is that of an accepted share of the source with the holder.
    """

    user_id: str | None
    only_source_id: str | None
    source_id: str | None
    owner_id: str | None
    permission: str | None
    missing: type[NotFound]

    @property
    def role(self) -> Role:
        if self.owner_id and self.owner_id == self.user_id:
            return Role.OWNER
        return ROLES.get(self.permission or "", Role.STRANGER)

    def check(self, needed: Role) -> None:
        """Raises the resource's NotFound, or NotYours for any lesser role."""
        if self.owner_id is None:
            raise self.missing
        if self.role < needed:
            raise NotYours

    def check_reporter(self) -> None:
        """Raises the resource's NotFound, or NotYours."""
        if self.owner_id is None:
            raise self.missing
        if self.owner_id != self.user_id and self.source_id != self.only_source_id:
            raise NotYours


def find(caller: Caller, model: type[Base], id: str) -> Access:
    """The rights of ``caller`` on the ``model`` with that ``id``. Raises InvalidToken for an invalid token."""
    rows = _statement(caller.authenticated, SOURCE_OF[model][0]).run({**caller.values, "thing_id": id})
    if not rows:
        raise InvalidToken(caller.refusal)
    return Access(**rows[0], missing=SOURCE_OF[model][1])


def check_owner(source: TrafficSource, user_id: str) -> None:
    """Raises NotYours."""
    if source.user_id != user_id:
        raise NotYours


def check_invited(share: Share, user_id: str) -> None:
    """Raises NotInvited."""
    if share.shared_with_id != user_id:
        raise NotInvited


def check_party(share: Share, user_id: str) -> None:
    """Raises NotYours unless the user owns the shared source, or is the invited one."""
    if user_id not in (share.user_id, share.shared_with_id):
        raise NotYours


def source_of(holder: IngestTokenHolder) -> str:
    """The id of the one source that ``holder`` may report to. Raises InvalidToken."""
    return str(find(holder, TrafficSource, NO_ID).only_source_id)


def check_reporter(caller: Caller, source_id: str) -> None:
    """Raises InvalidToken, TrafficSourceNotFound or NotYours unless ``caller`` may report to the source."""
    find(caller, TrafficSource, source_id).check_reporter()


@cache
def _statement(authenticated: str, source: str) -> Statement:
    """One row if the token is valid. A missing resource has neither source nor owner, a deleted source no owner."""
    columns: dict[str, Any] = dict.fromkeys(("user_id", "only_source_id", "source_id", "owner_id"), Identifier)
    columns["permission"] = String()
    return Statement(
        f"""
        SELECT token.user_id, token.only_source_id, found.source_id, found.owner_id, shares.permission
        FROM ({authenticated}) AS token
        LEFT JOIN (
            SELECT traffic_sources.id AS source_id, traffic_sources.user_id AS owner_id FROM {source}
        ) AS found ON TRUE
        LEFT JOIN shared_traffic_sources AS shares ON shares.traffic_source_id = found.source_id
            AND shares.shared_with_id = token.user_id AND shares.status = 'accepted'
        """,  # noqa: S608 # nosec B608
        PARAMETERS,
        columns,
    )
