"""Queries of shares: invitations of users to traffic sources, and their answers."""

from sqlalchemy import ColumnElement, delete, select, true, update

from app.errors import ShareAnswered, SharedAlready, ShareNotFound, TrafficSourceNotFound
from app.extensions import db
from app.models import Share, TrafficSource, Webhook
from app.repositories.base import Page, paginate, unsynchronized, violations_as


def get(share_id: str) -> Share:
    """Raises ShareNotFound, also if its source is deleted."""
    share = db.session.get(Share, share_id)
    if share is None or share.user_id is None:
        raise ShareNotFound
    return share


def list_with(user_id: str, page: int, page_limit: int, *statuses: str) -> Page:
    """A page of the shares of others' sources with this user, newest first; all, or those with one of ``statuses``."""
    answered = Share.status.in_(statuses) if statuses else true()
    return _list((Share.shared_with_id == user_id) & answered, page, page_limit)


def list_of(source_id: str, page: int, page_limit: int) -> Page:
    """A page of the shares of a source, newest first."""
    return _list(Share.traffic_source_id == source_id, page, page_limit)


def _list(condition: ColumnElement[bool], page: int, page_limit: int) -> Page:
    of_somebody = Share.traffic_source.has(TrafficSource.user_id.is_not(None))
    return paginate(select(Share).where(condition, of_somebody), page, page_limit, Share.id.desc())


def add(share: Share) -> Share:
    """Raises SharedAlready, TrafficSourceNotFound."""
    with violations_as(taken=SharedAlready(), gone=TrafficSourceNotFound()):
        db.session.add(share)
        db.session.flush()
    return share


def answer(share: Share, status: str) -> Share:
    """Raises ShareAnswered; of several answers at once, only the first succeeds."""
    pending = update(Share).where(Share.id == share.id, Share.status == "pending")
    if not unsynchronized(pending.values(status=status)):
        raise ShareAnswered
    db.session.refresh(share)
    return share


def change(share: Share, permission: str) -> Share:
    """Change what the invited user may do, at once. Raises ShareNotFound."""
    if not unsynchronized(update(Share).where(Share.id == share.id).values(permission=permission)):
        raise ShareNotFound
    db.session.refresh(share)
    return share


def remove(share: Share) -> None:
    """End the share, and with it the access that it gave. The owner answers for webhooks that the other set.

    Raises ShareNotFound.
    """
    if not unsynchronized(delete(Share).where(Share.id == share.id)):
        raise ShareNotFound
    theirs = update(Webhook).where(
        Webhook.traffic_source_id == share.traffic_source_id, Webhook.set_by_id == share.shared_with_id
    )
    unsynchronized(theirs.values(set_by_id=None))
