"""Signs users up, in and out, and changes accounts."""

from typing import Any

from marshmallow import ValidationError

from app.accounts import mailer, recovery, removal
from app.api import rate_limits
from app.api.auth import current_user_id, issue_token, public, revoke_current_token
from app.api.blueprint import Blueprint
from app.api.fields import Email
from app.api.users.accounts import (
    MAX_PUBLIC_BODY_BYTES,
    change_and_commit,
    check_credentials_and_commit,
    confirm_password,
    sign_up_and_commit,
)
from app.api.users.schemas import (
    CredentialsSchema,
    NewPasswordSchema,
    NewUserSchema,
    PasswordSchema,
    SignedInUserSchema,
    UserChangesSchema,
    UserSchema,
)
from app.extensions import db
from app.models import User
from app.repositories import users

blp = Blueprint("Users", __name__, url_prefix="/user", description="Accounts and sign-in.")


@blp.route("", methods=["POST"], guard=public)
@blp.arguments(NewUserSchema(), max_bytes=MAX_PUBLIC_BODY_BYTES)
@blp.response(201, UserSchema())
@blp.errors(
    {403: "Registration is closed.", 409: "An account with this e-mail exists already.", 429: "Too many sign-ups."}
)
def create_user(body: dict[str, Any]) -> User:
    """Sign up"""
    return sign_up_and_commit(body)


@blp.route("/auth", methods=["POST"], guard=public)
@blp.arguments(CredentialsSchema(), max_bytes=MAX_PUBLIC_BODY_BYTES)
@blp.response(200, SignedInUserSchema())
@blp.errors({401: "The e-mail or the password is wrong.", 429: "Too many failed sign-ins."})
def sign_in(body: dict[str, Any]) -> User:
    """Sign in, and get a token"""
    user = check_credentials_and_commit(body)
    user.token = issue_token(user)  # type: ignore[attr-defined]
    return user


@blp.route("", methods=["GET"])
@blp.response(200, UserSchema())
def get_user() -> User:
    """Get the signed-in user"""
    return users.get(current_user_id())


@blp.route("", methods=["PUT"])
@blp.arguments(UserChangesSchema())
@blp.response(200, UserSchema())
@blp.errors(
    {
        403: "The current password is wrong.",
        409: "An account with this e-mail exists already.",
        429: "The current password was wrong too often, or too many e-mails were tried.",
    }
)
def update_user(changes: dict[str, Any]) -> User:
    """Change name, e-mail, time zone or password

    A new password needs the current one and revokes all older tokens.
    """
    return change_and_commit(users.get(current_user_id()), changes)


@blp.route("", methods=["DELETE"])
@blp.arguments(PasswordSchema())
@blp.response(204)
@blp.errors({403: "The password is wrong.", 429: "The password was wrong too often."})
def delete_user(body: dict[str, Any]) -> None:
    """Delete the account with all that belongs to it"""
    user = users.get(current_user_id())
    db.session.commit()  # Hold no connection while the password is verified.
    confirm_password(user, body["password"])
    removal.delete_user_and_commit(user.id)


@blp.route("/forgot-password-token/email/<path:email>", methods=["POST"], guard=public)
@blp.response(204)
@blp.errors({429: "Too many links were asked for.", 503: "Too many mails wait to be sent."})
def mail_password_link(email: str) -> None:
    """Mail a link to set a new password

    The answer is the same whether or not there is such an account.
    """
    try:
        address = Email().deserialize(email)
    except ValidationError:
        return  # No account has it.
    rate_limits.password_link(address)
    mailer.mail_link(address)


@blp.route("/validate-forgot-password-token/token/<token>", methods=["POST"], guard=public)
@blp.response(204)
@blp.errors({400: "The link's token is unknown, used or too old."})
def check_password_link(token: str) -> None:
    """Check the token of a link to set a new password"""
    recovery.check(token)


@blp.route("/change-password-by-token/token/<token>", methods=["POST"], guard=public)
@blp.arguments(NewPasswordSchema(), max_bytes=MAX_PUBLIC_BODY_BYTES)
@blp.response(204)
@blp.errors({400: "The link's token is unknown, used or too old."})
def change_password_by_link(body: dict[str, Any], token: str) -> None:
    """Set a new password, by the token of a link

    This uses up all links of the account, and revokes all older sign-in tokens.
    """
    recovery.change_password_and_commit(token, body["password"])


@blp.route("/logout", methods=["POST"])
@blp.response(204)
def sign_out() -> None:
    """Sign out: revoke the token of this request"""
    revoke_current_token()
    db.session.commit()
