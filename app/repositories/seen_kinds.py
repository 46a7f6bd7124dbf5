"""Kinds of events that messages showed lately, so that a message can say which ones are new."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select, text, tuple_

from app.digests import Digest, KindKey
from app.extensions import db
from app.models import SeenKind
from app.models.columns import Identifier, UTCDateTime, first_id_at
from app.repositories.base import unsynchronized
from app.repositories.claims import Claim

# A kind is new if no message of its webhook showed it within REMEMBERED_FOR, and the webhook is older than
# ESTABLISHED_AFTER.
REMEMBERED_FOR = timedelta(days=30)
ESTABLISHED_AFTER = timedelta(days=1)
BATCH_SIZE = 1_000

_NOTE = text("""
    INSERT INTO seen_kinds (webhook_id, kind, seen_at) VALUES (:webhook_id, :kind, :seen_at)
    ON CONFLICT (webhook_id, kind) DO UPDATE SET seen_at = excluded.seen_at
""").bindparams(bindparam("webhook_id", type_=Identifier), bindparam("seen_at", type_=UTCDateTime))


def with_new(claims: Sequence[Claim], now: datetime) -> list[Claim]:
    """``claims``, whose notes name the kinds that are new."""
    keys = {(claim.webhook_id, _hash(key)) for claim in claims for key in _shown(claim)}
    known = set()
    if keys:
        seen = select(SeenKind.webhook_id, SeenKind.kind).where(
            tuple_(SeenKind.webhook_id, SeenKind.kind).in_(sorted(keys)), SeenKind.seen_at > now - REMEMBERED_FOR
        )
        known = {(row.webhook_id, row.kind) for row in db.session.execute(seen)}
    established = first_id_at(now - ESTABLISHED_AFTER)
    return [_with_new(claim, known) if claim.webhook_id < established else claim for claim in claims]


def _with_new(claim: Claim, known: set[tuple[str, str]]) -> Claim:
    new = frozenset(key for key in _shown(claim) if (claim.webhook_id, _hash(key)) not in known)
    return replace(claim, notes=claim.notes._replace(new_kinds=new))


def note(claims: Iterable[Claim], now: datetime) -> None:
    """Remember the kinds that delivered messages show. Does not commit."""
    keys = sorted({(claim.webhook_id, _hash(key)) for claim in claims for key in _shown(claim)})
    if keys:
        values = [{"webhook_id": webhook_id, "kind": kind, "seen_at": now} for webhook_id, kind in keys]
        db.session.connection().execute(_NOTE, values)


def purge(before: datetime) -> int:
    """Forget a batch of kinds that no message showed since ``before``. Does not commit. Returns their number."""
    forgotten = select(SeenKind.webhook_id, SeenKind.kind).where(SeenKind.seen_at < before).limit(BATCH_SIZE)
    return unsynchronized(delete(SeenKind).where(tuple_(SeenKind.webhook_id, SeenKind.kind).in_(forgotten)))


def _shown(claim: Claim) -> list[KindKey]:
    return [kind.key for kind in claim.digest.shown] if isinstance(claim.digest, Digest) else []


def _hash(key: KindKey) -> str:
    return hashlib.sha256(repr(key).encode(errors="replace")).hexdigest()[:16]
