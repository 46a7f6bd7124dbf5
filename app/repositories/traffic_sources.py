"""Queries of traffic sources and their ingest tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from app.errors import DomainTaken, IngestTokenNotFound, TooManySources, TooManyTokens, TrafficSourceNotFound
from app.extensions import db
from app.models import Alert, IngestToken, Share, TrafficSource, User, Webhook
from app.repositories.base import (
    NEWEST_FIRST,
    Order,
    Page,
    begin_writing,
    paginate,
    unsynchronized,
    violations_as,
)

# Sources of a deleted account that are deleted in one transaction: with all their tokens, some thousand rows.
DELETED_AT_ONCE = 50
# What a list is sorted by, for each column of an Order.
SORTS: dict[str, Callable[[Any], Any]] = {
    "name": lambda sources: func.lower(sources.name),
    "created_at": lambda sources: sources.id,
    "updated_at": lambda sources: sources.updated_at,
}


def get(source_id: str) -> TrafficSource:
    """Raises TrafficSourceNotFound."""
    source = db.session.get(TrafficSource, source_id)
    if source is None or source.user_id is None:
        raise TrafficSourceNotFound
    return source


def list_of(user_id: str, page: int, page_limit: int, order: Order = NEWEST_FIRST, name: str | None = None) -> Page:
    """A page of the user's sources and of those shared with them, with ``name`` only those whose name contains it."""
    own = select(TrafficSource).where(TrafficSource.user_id == user_id)
    accepted = (Share.shared_with_id == user_id, Share.status == "accepted", TrafficSource.user_id.is_not(None))
    shared = select(TrafficSource).join(Share, Share.traffic_source_id == TrafficSource.id).where(*accepted)
    found = aliased(TrafficSource, own.union_all(shared).subquery())
    query = select(found)
    if name:
        query = query.where(found.name.icontains(name, autoescape=True))
    return paginate(query, page, page_limit, *order.by(SORTS[order.column](found), found.id))


def count_of(user_id: str) -> int:
    return db.session.scalar(select(func.count()).where(TrafficSource.user_id == user_id)) or 0


def save(source: TrafficSource) -> TrafficSource:
    """Raises DomainTaken."""
    with violations_as(taken=DomainTaken(), gone=TrafficSourceNotFound()):
        db.session.add(source)
        db.session.flush()
    return source


def add(source: TrafficSource, most: int) -> TrafficSource:
    """Add a source, if its user has fewer than ``most``, also under concurrency; 0 means any number.

    Raises DomainTaken, TooManySources.
    """
    of_user = TrafficSource.user_id == source.user_id
    if most:
        # Serialise concurrent additions. SQLite has one writer anyway, from the flush on.
        db.session.execute(select(User.id).where(User.id == source.user_id).with_for_update(key_share=True))
    save(source)
    if most and (db.session.scalar(select(func.count()).where(of_user)) or 0) > most:
        raise TooManySources(most)
    return source


def delete(source: TrafficSource) -> None:
    """Mark the source as deleted: remove its user, ingest tokens, alerts, shares and webhooks' secrets.

    Fast for any number of records; ``delivery/retention.py`` purges the rows in batches. Raises TrafficSourceNotFound.
    """
    if not _delete([source.id]):
        raise TrafficSourceNotFound


def delete_some_of(user_id: str) -> int:
    """Delete up to DELETED_AT_ONCE sources of the user, as ``delete`` does. Returns their number."""
    begin_writing()
    some = select(TrafficSource.id).where(TrafficSource.user_id == user_id).order_by(TrafficSource.id)
    return _delete(db.session.scalars(some.limit(DELETED_AT_ONCE).with_for_update()).all())


def _delete(source_ids: Sequence[str]) -> int:
    there = sql.update(TrafficSource).where(TrafficSource.id.in_(source_ids), TrafficSource.user_id.is_not(None))
    deleted = unsynchronized(there.values(user_id=None))
    unsynchronized(sql.delete(IngestToken).where(IngestToken.traffic_source_id.in_(source_ids)))
    unsynchronized(sql.delete(Alert).where(Alert.traffic_source_id.in_(source_ids)))
    unsynchronized(sql.delete(Share).where(Share.traffic_source_id.in_(source_ids)))
    secrets = sql.update(Webhook).where(Webhook.traffic_source_id.in_(source_ids))
    unsynchronized(secrets.values(token=None, state="suspended", reason="deleted"))
    return deleted


def list_ingest_tokens(source_id: str, page: int, page_limit: int) -> Page:
    query = select(IngestToken).where(IngestToken.traffic_source_id == source_id)
    return paginate(query, page, page_limit, IngestToken.id.desc())


def add_ingest_token(token: IngestToken, most: int) -> IngestToken:
    """Add a token, if its source has fewer than ``most``, also under concurrency; 0 means any number.

    Raises TrafficSourceNotFound, TooManyTokens.
    """
    of_source = IngestToken.traffic_source_id == token.traffic_source_id
    source = select(TrafficSource.id).where(
        TrafficSource.id == token.traffic_source_id, TrafficSource.user_id.is_not(None)
    )
    begin_writing()
    if db.session.scalar(source.with_for_update(key_share=True)) is None:
        raise TrafficSourceNotFound
    if most and (db.session.scalar(select(func.count()).where(of_source)) or 0) >= most:
        raise TooManyTokens(most)
    with violations_as(gone=TrafficSourceNotFound()):
        db.session.add(token)
        db.session.flush()
    return token


def delete_ingest_token(source_id: str, token_id: str) -> None:
    """Raises IngestTokenNotFound."""
    revoked = sql.delete(IngestToken).where(IngestToken.id == token_id, IngestToken.traffic_source_id == source_id)
    if not unsynchronized(revoked):
        raise IngestTokenNotFound
