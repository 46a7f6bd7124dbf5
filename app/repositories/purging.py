"""Deletes old rows, and rows of deleted webhooks and sources, in batches that hold locks only briefly.

Each ``purge_…`` and ``discard_…`` function handles one batch and does not commit. Unless it returns a keyset position,
it returns the number of rows, 0 if none is left.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, func, literal_column, or_, select, update

from app.errors import RecordNotFound
from app.extensions import db
from app.models import Delivery, Destination, Domain, IngestToken, Pathname, TrafficRecord, TrafficSource, Webhook
from app.models.columns import NO_ID, first_id_at
from app.repositories import outcome_counts, series_points
from app.repositories.base import begin_writing, unsynchronized
from app.repositories.outbox import PENDING
from app.repositories.tallies import counted_to

BATCH_SIZE = 1_000


def purge_records(before: datetime) -> int:
    """Delete counted records older than ``before``, and pathnames and domains that have no other records."""
    old = TrafficRecord.id < first_id_at(before), TrafficRecord.arrival <= counted_to
    return _delete_records(select(TrafficRecord.id).where(*old))


def purge_series(before: datetime) -> int:
    """Delete points of series older than ``before``."""
    return series_points.purge(before, BATCH_SIZE)


def delete_record(record_id: str) -> None:
    """Delete the record, once counted, and its pathname and domain if they have no other. Raises RecordNotFound."""
    series_points.count_record(record_id)
    if not _delete_records(select(TrafficRecord.id).where(TrafficRecord.id == record_id)):
        raise RecordNotFound


def purge_deliveries(before: datetime) -> int:
    """Delete settled deliveries older than ``before``."""
    settled = select(Delivery.id).where(*_settled(before)).order_by(Delivery.id).limit(BATCH_SIZE)
    return unsynchronized(delete(Delivery).where(Delivery.id.in_(settled)))


def discard_waiting(before: datetime, reason: str) -> int:
    """Discard pending deliveries of suspended webhooks that are older than ``before``."""
    waiting = (
        select(Delivery.id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(
            Delivery.state == PENDING,
            Delivery.id < first_id_at(before),
            Webhook.state == literal_column("'suspended'"),
            Webhook.traffic_source_id.is_not(None),
        )
        .limit(BATCH_SIZE)
    )
    given_up = update(Delivery).where(Delivery.id.in_(waiting), Delivery.state == PENDING)
    given_up = given_up.values(state="discarded", last_error=reason, next_attempt_at=None)
    events = db.session.scalars(
        given_up.returning(Delivery.event_count), execution_options={"synchronize_session": False}
    ).all()
    outcome_counts.add(Counter({outcome_counts.Key("events", "discarded"): sum(events)} if events else {}))
    return len(events)


def purge_deleted_webhooks() -> int:
    """Delete the deliveries of deleted webhooks, and of webhooks of deleted sources; finally the webhooks."""
    is_deleted = or_(Webhook.traffic_source_id.is_(None), Webhook.traffic_source_id.in_(_deleted_sources()))
    webhooks = db.session.scalars(select(Webhook.id).where(is_deleted).order_by(Webhook.id).limit(BATCH_SIZE)).all()
    if not webhooks:
        return 0
    # Deliveries in flight are left to their dispatcher.
    theirs = (
        select(Delivery.id).where(Delivery.webhook_id.in_(webhooks), Delivery.state != "delivering").limit(BATCH_SIZE)
    )
    if deleted := unsynchronized(delete(Delivery).where(Delivery.id.in_(theirs))):
        return deleted
    has_deliveries = select(Delivery.id).where(Delivery.webhook_id == Webhook.id).exists()
    return unsynchronized(delete(Webhook).where(Webhook.id.in_(webhooks), ~has_deliveries))


def purge_deleted_sources() -> int:
    """Delete the records, places, series and ingest tokens of deleted sources; finally the sources."""
    deleted = _deleted_sources()
    if not deleted:
        return 0
    if taken := _delete_records(select(TrafficRecord.id).where(TrafficRecord.traffic_source_id.in_(deleted))):
        return taken
    domains = select(Domain.id).where(Domain.traffic_source_id.in_(deleted))
    places = select(Pathname.id).where(Pathname.domain_id.in_(domains)).limit(BATCH_SIZE)
    if taken := _remove_unused(db.session.scalars(places).all()):
        return taken
    # Under the lock, so that no dispatcher adds a point for a source that is gone.
    if series_points.lock_position() is None:
        return 0
    if taken := series_points.purge_of(deleted, BATCH_SIZE):
        return taken
    unsynchronized(delete(Domain).where(Domain.id.in_(domains.limit(BATCH_SIZE)), ~_has_pathnames()))
    unsynchronized(delete(IngestToken).where(IngestToken.traffic_source_id.in_(deleted)))
    is_empty = ~or_(
        select(Domain.id).where(Domain.traffic_source_id == TrafficSource.id).exists(),
        select(Webhook.id).where(Webhook.traffic_source_id == TrafficSource.id).exists(),
    )
    return unsynchronized(delete(TrafficSource).where(TrafficSource.id.in_(deleted), is_empty))


def _deleted_sources() -> Sequence[str]:
    return db.session.scalars(select(TrafficSource.id).where(TrafficSource.user_id.is_(None)).limit(100)).all()


def purge_unused_places(after: str, before: datetime) -> str:
    """Delete pathnames without records in a batch after ``after``, if older than ``before``. Returns the next position.

    Most are deleted with their last record; this finds those whose record was never stored.
    """
    query = select(Pathname.id).where(Pathname.id > after, Pathname.id < first_id_at(before))
    seen = db.session.scalars(query.order_by(Pathname.id).limit(BATCH_SIZE)).all()
    _remove_unused(seen)
    return seen[-1] if len(seen) == BATCH_SIZE else NO_ID


def purge_unused_destinations(after: str, now: datetime) -> str:
    """Delete destinations without webhooks in a batch after ``after``. Returns the next position.

    A paused destination is kept, so that a new webhook for it respects the pause.
    """
    seen = db.session.scalars(
        select(Destination.id).where(Destination.id > after).order_by(Destination.id).limit(BATCH_SIZE)
    ).all()
    begin_writing()
    unused = select(Destination.id).where(
        Destination.id.in_(seen),
        Destination.claim_token.is_(None),
        or_(Destination.paused_until.is_(None), Destination.paused_until <= now),
        ~select(Webhook.id).where(Webhook.destination_id == Destination.id).exists(),
    )
    locked = db.session.scalars(unused.with_for_update(skip_locked=True)).all()
    unsynchronized(delete(Destination).where(Destination.id.in_(locked)))
    return seen[-1] if len(seen) == BATCH_SIZE else ""


def count_purgeable(records_before: datetime, deliveries_before: datetime) -> int:
    records = select(func.count()).where(TrafficRecord.id < first_id_at(records_before))
    settled = select(func.count()).where(*_settled(deliveries_before))
    return (db.session.scalar(records) or 0) + (db.session.scalar(settled) or 0)


def _settled(before: datetime) -> tuple[ColumnElement[bool], ...]:
    return Delivery.id < first_id_at(before), Delivery.state.in_(("delivered", "discarded"))


def _delete_records(records: Select[str]) -> int:
    oldest = records.order_by(TrafficRecord.id).limit(BATCH_SIZE)
    gone = delete(TrafficRecord).where(TrafficRecord.id.in_(oldest)).returning(TrafficRecord.pathname_id)
    pathnames = db.session.scalars(gone, execution_options={"synchronize_session": False}).all()
    _remove_unused(set(pathnames))
    return len(pathnames)


def _remove_unused(pathname_ids: Iterable[str]) -> int:
    """Delete those of the pathnames, and then of their domains, that have no record. Returns the number of pathnames.

    Locks before checking: a report to one of them then waits, finds it gone, and creates it again. Skips those that a
    report holds: deleting without locks first could cascade to that report's record.
    """
    begin_writing()
    unused = select(Pathname.id).where(Pathname.id.in_(list(pathname_ids)), ~_has_records())
    locked = db.session.scalars(unused.with_for_update(skip_locked=True)).all()
    if not locked:
        return 0
    gone = delete(Pathname).where(Pathname.id.in_(locked), ~_has_records()).returning(Pathname.domain_id)
    domains = db.session.scalars(gone, execution_options={"synchronize_session": False}).all()
    empty = select(Domain.id).where(Domain.id.in_(set(domains)), ~_has_pathnames())
    if emptied := db.session.scalars(empty.with_for_update(skip_locked=True)).all():
        unsynchronized(delete(Domain).where(Domain.id.in_(emptied), ~_has_pathnames()))
    return len(domains)


def _has_records() -> ColumnElement[bool]:
    return select(TrafficRecord.id).where(TrafficRecord.pathname_id == Pathname.id).exists()


def _has_pathnames() -> ColumnElement[bool]:
    return select(Pathname.id).where(Pathname.domain_id == Domain.id).exists()
