"""Re-encrypts the stored tokens of webhooks under the first key, in batches."""

from dataclasses import dataclass

from sqlalchemy import String, func, select, type_coerce, update

from app.extensions import db, keyring
from app.models import Webhook
from app.models.columns import NO_ID
from app.repositories.base import unsynchronized

BATCH_SIZE = 500

# The column without EncryptedString, which would decrypt it.
_encrypted = type_coerce(Webhook.token, String)


@dataclass(frozen=True)
class Progress:
    """The progress of re-encryption. ``id`` is the keyset position; None once all are done."""

    id: str | None = NO_ID
    seen: int = 0
    renewed: int = 0
    unreadable: int = 0


def count() -> int:
    return db.session.scalar(select(func.count()).where(Webhook.token.is_not(None))) or 0


def renew_batch(done: Progress) -> Progress:
    """Re-encrypt the next batch of secrets that are not under the first key. Does not commit.

    A secret that is changed meanwhile is not overwritten: it is under the first key already.
    """
    query = select(Webhook.id, _encrypted.label("old")).where(Webhook.token.is_not(None), Webhook.id > done.id)
    rows = db.session.execute(query.order_by(Webhook.id).limit(BATCH_SIZE)).all()
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
