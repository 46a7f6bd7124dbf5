"""Authorisation: the only module that decides who may use a traffic source and everything below it."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, ClassVar

from sqlalchemy import Boolean, Integer, String

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

PARAMETERS = {"thing_id": Identifier, "user_id": Identifier, "token_version": Integer(), "token_hash": String()}

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


@dataclass(frozen=True)
class Caller:
    """The holder of a token. ``authenticated`` is SQL for one row if the token is valid."""

    token_hash: str

    authenticated: ClassVar[str]
    refusal: ClassVar[str]

    def values_for(self, thing_id: str) -> dict[str, Any]:
        """The parameters of ``query``."""
        return {**vars(self), "thing_id": thing_id}


@dataclass(frozen=True)
class SignedIn(Caller):
    """The holder of a sign-in token whose signature and expiry are valid."""

    user_id: str
    token_version: int

    # The user exists, has not changed the password, and did not revoke the token.
    authenticated = """
        SELECT users.id AS user_id, CAST(NULL AS uuid) AS only_source_id FROM users
        WHERE users.id = :user_id AND users.token_version = :token_version
        AND NOT EXISTS (SELECT 1 FROM revoked_tokens WHERE revoked_tokens.token_hash = :token_hash)
    """
    refusal = InvalidToken.message


@dataclass(frozen=True)
class IngestTokenHolder(Caller):
    """The holder of an ingest token, who may only report to the source that it was issued for."""

    authenticated = """
        SELECT CAST(NULL AS uuid) AS user_id, ingest_tokens.traffic_source_id AS only_source_id FROM ingest_tokens
        WHERE ingest_tokens.token_hash = :token_hash
    """
    refusal = "The provided ingest token is invalid or was revoked."


@dataclass(frozen=True)
class Access:
    """The rights of a valid token's holder on a resource. ``owner_id`` is None if the resource is missing."""

    only_source_id: str | None
    source_id: str | None
    owner_id: str | None
    role: Role
    may_report: bool
    missing: type[NotFound]

    def check(self, needed: Role) -> None:
        """Raises the resource's NotFound, or NotYours for any lesser role."""
        self._check(self.role >= needed)

    def check_reporter(self) -> None:
        """Raises the resource's NotFound, or NotYours."""
        self._check(self.may_report)

    def _check(self, is_allowed: bool) -> None:
        if self.owner_id is None:
            raise self.missing
        if not is_allowed:
            raise NotYours


def find(caller: Caller, model: type[Base], id: str) -> Access:
    """The rights of ``caller`` on the ``model`` with that ``id``. Raises InvalidToken for an invalid token."""
    rows = _find(caller.authenticated, model).run(caller.values_for(id))
    if not rows:
        raise InvalidToken(caller.refusal)
    return Access(**rows[0] | {"role": Role(rows[0]["role"])}, missing=SOURCE_OF[model][1])


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


def query(authenticated: str, model: type[Base] = TrafficSource) -> str:
    """SQL for the columns of Access, with the parameters ``PARAMETERS``: one row if the token is valid.

    A missing resource has neither source nor owner, nor has a resource of a deleted source. A statement that does its
    work only for callers with the right to it selects from this, which saves the round trip of ``find``.
    """
    return f"""
        SELECT
            token.only_source_id, found.source_id, found.owner_id,
            CASE
                WHEN found.owner_id = token.user_id THEN {Role.OWNER:d}
                WHEN shares.permission = 'editor' THEN {Role.EDITOR:d}
                WHEN shares.permission = 'readOnly' THEN {Role.READER:d}
                ELSE {Role.STRANGER:d}
            END AS role,
            COALESCE(found.owner_id = token.user_id OR found.source_id = token.only_source_id, FALSE) AS may_report
        FROM ({authenticated}) AS token
        LEFT JOIN (
            SELECT traffic_sources.id AS source_id, traffic_sources.user_id AS owner_id FROM {SOURCE_OF[model][0]}
            AND traffic_sources.user_id IS NOT NULL
        ) AS found ON TRUE
        LEFT JOIN shared_traffic_sources AS shares ON shares.traffic_source_id = found.source_id
            AND shares.shared_with_id = token.user_id AND shares.status = 'accepted'
    """  # noqa: S608 # nosec B608


@cache
def _find(authenticated: str, model: type[Base]) -> Statement:
    columns: dict[str, Any] = dict.fromkeys(("only_source_id", "source_id", "owner_id"), Identifier)
    return Statement(query(authenticated, model), PARAMETERS, columns | {"role": Integer(), "may_report": Boolean()})
