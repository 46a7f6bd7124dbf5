"""Deletes accounts."""

from app.extensions import db
from app.repositories import traffic_sources, users


def delete_user_and_commit(user_id: str) -> None:
    """Delete the account with all that belongs to it. Dispatchers purge records, webhooks and deliveries later.

    Its sources are marked as deleted in batches, so that no lock is held for long. If the process ends before the
    last, the account is still there, and deleting it again goes on.
    """
    while traffic_sources.delete_some_of(user_id):
        db.session.commit()
    users.lock(user_id)  # A source that was added meanwhile is found now, and no other can be added.
    while traffic_sources.delete_some_of(user_id):
        pass
    users.delete(user_id)
    db.session.commit()
