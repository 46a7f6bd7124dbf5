"""Stored secrets as the database holds them: encrypted."""

from dataclasses import dataclass

from sqlalchemy import String, func, select, type_coerce, update

from app.extensions import db, keyring
from app.models import Webhook
from app.models.columns import NO_ID
from app.repositories.base import unsynchronized

BITE = 500

# The column past its type, which would decrypt it.
_encrypted = type_coerce(Webhook.token, String)


@dataclass(frozen=True)
class Progress:
    """How far a renewal of all secrets came: behind ``id``, none is left where it is None."""

    id: str | None = NO_ID
    seen: int = 0
    renewed: int = 0
    unreadable: int = 0


def count() -> int:
    return db.session.scalar(select(func.count()).where(Webhook.token.is_not(None))) or 0


def renew_bite(done: Progress) -> Progress:
    """Encrypt a bite of secrets anew, under the first key, where they are under another; go on behind ``done``.

    What somebody sets meanwhile stays: it is under the first key already.
    """
    query = select(Webhook.id, _encrypted.label("old")).where(Webhook.token.is_not(None), Webhook.id > done.id)
    rows = db.session.execute(query.order_by(Webhook.id).limit(BITE)).all()
    renewed = [(row.id, row.old, keyring.renew(row.old)) for row in rows]
    return Progress(
        id=rows[-1].id if rows else None,
        seen=done.seen + len(rows),
        renewed=done.renewed + sum(_replace(id, old, new) for id, old, new in renewed if new and new != old),
        unreadable=done.unreadable + sum(new is None for _, _, new in renewed),
    )


def _replace(webhook_id: str, old: str, new: str) -> int:
    unchanged = update(Webhook).where(Webhook.id == webhook_id, _encrypted == old)
    return unsynchronized(unchanged.values(token=type_coerce(new, String)))
