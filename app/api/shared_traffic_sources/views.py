"""Shares traffic sources with other users."""

from typing import Any

from app.api import rate_limits, refusals
from app.api.auth import current_user_id
from app.api.blueprint import Blueprint
from app.api.schema import page_schema
from app.api.shared_traffic_sources.schemas import (
    NewShareSchema,
    ShareChangesSchema,
    ShareQueryArgsSchema,
    ShareSchema,
)
from app.errors import AccountNotFound, SharedWithOneself
from app.extensions import db
from app.models import Share
from app.repositories import access, shares, traffic_sources, users
from app.repositories.base import Page

blp = Blueprint(
    "Shared traffic sources",
    __name__,
    url_prefix="/shared-traffic-sources",
    description="Invitations of other users to a traffic source.",
)

MISSING = {404: "The specified share was not found."}
ANSWERING = MISSING | {
    403: "Somebody else is invited.",
    409: "The invitation was accepted or rejected already.",
}


@blp.route("", methods=["POST"])
@blp.arguments(NewShareSchema())
@blp.response(201, ShareSchema())
@blp.errors(
    {
        403: "The traffic source belongs to another user.",
        404: "There is no such traffic source, or no account with this e-mail.",
        409: "This user was invited already.",
        429: "Too many e-mails were tried.",
    }
)
def share_traffic_source(body: dict[str, Any]) -> Share:
    """Invite a user to a traffic source of yours

    Once accepted, the source is in the other user's list. To invite somebody again who rejected, delete the first
    invitation.
    """
    return invite_and_commit(current_user_id(), **body)


def invite_and_commit(user_id: str, traffic_source_id: str, user_email: str, permission: str) -> Share:
    """Raises SharedWithOneself, TrafficSourceNotFound, NotYours, TooManyRequests, AccountNotFound, SharedAlready."""
    if users.get(user_id).email == user_email:
        raise SharedWithOneself
    source = traffic_sources.get(traffic_source_id)
    access.check_owner(source, user_id)
    rate_limits.claim_email(user_email)
    invited = users.get_by_email(user_email)
    if invited is None:
        raise AccountNotFound
    share = Share(traffic_source_id=source.id, shared_with_id=invited.id, permission=permission)
    shares.add(share)
    db.session.commit()
    return share


@blp.route("", methods=["GET"])
@blp.arguments(ShareQueryArgsSchema(), location="query")
@blp.response(200, page_schema(ShareSchema))
@blp.errors(refusals.SOURCE)
def list_shares(query: dict[str, Any]) -> Page:
    """List what is shared with you, or the shares of a source of yours, newest first"""
    source_id = query.pop("traffic_source_id", None)
    if source_id is None:
        return shares.list_with(current_user_id(), **query)
    access.check_owner(traffic_sources.get(source_id), current_user_id())
    db.session.rollback()  # Hold no connection while waiting for the room of lists.
    return shares.list_of(source_id, **query)


@blp.route("/<id:share_id>/accept", methods=["POST"])
@blp.response(200, ShareSchema())
@blp.errors(ANSWERING)
def accept_share(share_id: str) -> Share:
    """Accept an invitation"""
    return answer_and_commit(current_user_id(), share_id, "accepted")


@blp.route("/<id:share_id>/reject", methods=["POST"])
@blp.response(200, ShareSchema())
@blp.errors(ANSWERING)
def reject_share(share_id: str) -> Share:
    """Reject an invitation"""
    return answer_and_commit(current_user_id(), share_id, "rejected")


def answer_and_commit(user_id: str, share_id: str, status: str) -> Share:
    """Raises ShareNotFound, NotInvited, ShareAnswered."""
    share = shares.get(share_id)
    access.check_invited(share, user_id)
    shares.answer(share, status)
    db.session.commit()
    return share


@blp.route("/<id:share_id>", methods=["PUT"])
@blp.arguments(ShareChangesSchema())
@blp.response(200, ShareSchema())
@blp.errors(MISSING | {403: "The traffic source belongs to another user."})
def update_share(body: dict[str, Any], share_id: str) -> Share:
    """Change the permission of somebody whom you invited

    It holds from their next request on, without another invitation.
    """
    return change_and_commit(current_user_id(), share_id, **body)


def change_and_commit(user_id: str, share_id: str, permission: str) -> Share:
    """Raises ShareNotFound, NotYours."""
    share = shares.get(share_id)
    access.check_owner(share.traffic_source, user_id)
    shares.change(share, permission)
    db.session.commit()
    return share


@blp.route("/<id:share_id>", methods=["DELETE"])
@blp.response(204)
@blp.errors(MISSING | {403: "You are neither the owner nor the invited user."})
def delete_share(share_id: str) -> None:
    """End a share, as the owner or the invited user"""
    remove_and_commit(current_user_id(), share_id)


def remove_and_commit(user_id: str, share_id: str) -> None:
    """Raises ShareNotFound, NotYours."""
    share = shares.get(share_id)
    access.check_party(share, user_id)
    shares.remove(share)
    db.session.commit()
