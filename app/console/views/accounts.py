"""Pages to sign up, in and out, and of one's account."""

from typing import Any

from flask import flash, redirect, render_template, request, url_for

from app.accounts import removal
from app.api.auth import authenticate, current_user_id, revoke_current_token
from app.api.users.accounts import (
    change_and_commit,
    check_credentials_and_commit,
    confirm_password,
    is_registration_open,
    sign_up_and_commit,
)
from app.api.users.schemas import CredentialsSchema, NewUserSchema, PasswordSchema, UserChangesSchema
from app.console import forms, session
from app.console.blueprint import blp, public, refused_on
from app.errors import Unauthenticated
from app.extensions import db
from app.repositories import users


@blp.get("/")
@blp.get("")
@public
def start() -> Any:
    """Lead to where one goes on: to the sources, to sign in or, while there is no account, to make the first."""
    try:
        authenticate(session.current_token())
    except Unauthenticated:
        page = "console.sign_in_page" if users.exist() else "console.sign_up_page"
        return redirect(url_for(page))
    return redirect(url_for("console.sources_page"))


@blp.get("/sign-in")
@public
def sign_in_page() -> Any:
    return render_template("sign_in.html", next=_wanted(), is_open=is_registration_open())


@blp.post("/sign-in")
@public
@refused_on(sign_in_page)
def sign_in() -> Any:
    session.begin(check_credentials_and_commit(forms.current().load(CredentialsSchema())))
    return redirect(_wanted() or url_for("console.sources_page"))


@blp.get("/sign-up")
@public
def sign_up_page() -> Any:
    return render_template("sign_up.html", next=_wanted(), is_open=is_registration_open(), is_first=not users.exist())


@blp.post("/sign-up")
@public
@refused_on(sign_up_page)
def sign_up() -> Any:
    session.begin(sign_up_and_commit(forms.current().load(NewUserSchema())))
    return redirect(_wanted() or url_for("console.sources_page"))


@blp.post("/sign-out")
def sign_out() -> Any:
    revoke_current_token()
    db.session.commit()
    session.end()
    flash("You are signed out.")
    return redirect(url_for("console.sign_in_page"))


@blp.get("/account")
def account_page() -> Any:
    return render_template("account.html", user=users.get(current_user_id()))


@blp.post("/account")
@refused_on(account_page)
def change_account() -> Any:
    changes = forms.current().load(UserChangesSchema(only=("name", "email")))
    change_and_commit(users.get(current_user_id()), changes)
    flash("Your account is changed.")
    return redirect(url_for("console.account_page"))


@blp.post("/account/password")
@refused_on(account_page)
def change_password() -> Any:
    """Change the password, which revokes all older tokens, and stay signed in here."""
    changes = forms.current().load(UserChangesSchema(only=("password", "current_password")))
    session.begin(change_and_commit(users.get(current_user_id()), changes))
    flash("Your password is changed. Everywhere else you are signed out.")
    return redirect(url_for("console.account_page"))


@blp.post("/account/sign-out-everywhere")
@refused_on(account_page)
def sign_out_everywhere() -> Any:
    users.revoke_all_tokens(users.get(current_user_id()))
    db.session.commit()
    session.end()
    flash("You are signed out everywhere.")
    return redirect(url_for("console.sign_in_page"))


@blp.get("/account/delete")
def delete_account_page() -> Any:
    return render_template("delete_account.html", user=users.get(current_user_id()))


@blp.post("/account/delete")
@refused_on(delete_account_page)
def delete_account() -> Any:
    password = forms.current().load(PasswordSchema())["password"]
    user = users.get(current_user_id())
    db.session.commit()  # Hold no connection while the password is verified.
    confirm_password(user, password)
    removal.delete_user_and_commit(user.id)
    session.end()
    flash("Your account is deleted, with all that belonged to it.")
    return redirect(url_for("console.sign_in_page"))


def _wanted() -> str | None:
    """The page to go to after signing in."""
    return session.own_path(request.values.get("next"))
