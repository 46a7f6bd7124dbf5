"""Pages for who forgot the password: ask for a link, and set a new password by it."""

from typing import Any

from flask import current_app, flash, redirect, render_template, url_for

from app.accounts import mailer, recovery
from app.api import rate_limits
from app.api.users.schemas import CredentialsSchema, NewPasswordSchema
from app.console import forms
from app.console.blueprint import blp, public, refused_on
from app.errors import UnusableLink


@blp.get("/forgot-password")
@public
def forgot_password_page() -> Any:
    return render_template("forgot_password.html", sends_mail=bool(current_app.config["SMTP_URL"]))


@blp.post("/forgot-password")
@public
@refused_on(forgot_password_page)
def forgot_password() -> Any:
    """Answers the same whether or not there is such an account."""
    email = forms.current().load(CredentialsSchema(only=("email",)))["email"]
    rate_limits.password_link(email)
    mailer.mail_link(email)
    flash("If there is an account with this e-mail, a link to set a new password is on its way.")
    return redirect(url_for("console.sign_in_page"))


@blp.get("/reset-password/<token>")
@public
def reset_password_page(token: str) -> Any:
    try:
        recovery.check(token)
    except UnusableLink as error:
        return render_template("reset_password.html", token=token, problem=error.message), 400
    return render_template("reset_password.html", token=token)


@blp.post("/reset-password/<token>")
@public
@refused_on(reset_password_page)
def reset_password(token: str) -> Any:
    recovery.change_password_and_commit(token, forms.current().load(NewPasswordSchema())["password"])
    flash("Your password is changed. Sign in with it.")
    return redirect(url_for("console.sign_in_page"))
