"""Commands of ``flask --app wsgi users``: what the keeper of the service does for people."""

import secrets

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from marshmallow import ValidationError

from app.accounts import recovery, removal
from app.api.users.schemas import NewUserSchema
from app.cli import one_line
from app.errors import EmailTaken
from app.extensions import db
from app.models import User
from app.repositories import traffic_sources, users
from app.security.passwords import hash_password

HEAD = ("E-MAIL", "NAME", "SOURCES", "CREATED")

group = AppGroup("users", help="List, create and delete accounts, and reset their passwords.")


def init_app(app: Flask) -> None:
    app.cli.add_command(group)


@group.command("list")
def list_users() -> None:
    """List all accounts, oldest first."""
    with one_line():
        rows = users.overview()
    table = [HEAD, *((row.email, row.name, str(row.sources), f"{row.created_at:%Y-%m-%d %H:%M}") for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (_printable(cell).ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@group.command()
@click.argument("email")
@click.option("--name", help="The person's name; by default what stands before the @.")
def create(email: str, name: str | None) -> None:
    """Create an account, whatever REGISTRATION says, and print a link to choose its password."""
    try:
        given = NewUserSchema(only=("name", "email")).load({"email": email, "name": name or email.partition("@")[0]})
    except ValidationError as error:
        problems = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise click.ClickException(" ".join(f"{field}: {' '.join(told)}" for field, told in problems.items())) from None
    with one_line():
        try:
            user = users.save(User(**given, password_hash=hash_password(secrets.token_urlsafe(32))))
        except EmailTaken as error:
            raise click.ClickException(error.message) from None
        _print_link(user)


@group.command("reset-password")
@click.argument("email")
def reset_password(email: str) -> None:
    """Print a link by which a person sets a new password. Until it is used, the old one is good."""
    with one_line():
        _print_link(_get(email))


@group.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(email: str, yes: bool) -> None:
    """Delete an account with all that belongs to it."""
    with one_line():
        user = _get(email)
        number = traffic_sources.count_of(user.id)
        db.session.commit()  # Hold no transaction while somebody thinks.
        told = f"{user.email} with {number:,} traffic source{'' if number == 1 else 's'}"
        if not yes:
            click.confirm(
                f"Delete {told}, their webhooks, tokens, records and pending messages? This cannot be undone.",
                abort=True,
            )
        removal.delete_user_and_commit(user.id)
    click.echo(f"Deleted {told}. A dispatcher removes their records in the next minutes.")


def _get(email: str) -> User:
    if user := users.get_by_email(email.strip().lower()):
        return user
    raise click.ClickException("There is no account with this e-mail. `flask --app wsgi users list` shows all.")


def _print_link(user: User) -> None:
    link = recovery.new_link(user)
    db.session.commit()
    click.echo(f"Send this link to {user.email}. It sets a password, once, within an hour:", err=True)
    click.echo(link)
    if not current_app.config["PUBLIC_URL"]:
        click.echo(
            "PUBLIC_URL is not set, so the link begins with the HOST and PORT of this command's environment. "
            "If people reach the service at another address, put that before /console.",
            err=True,
        )


def _printable(text: str) -> str:
    """Names come from strangers, and must not control the keeper's terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
