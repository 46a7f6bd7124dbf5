"""Schemas of accounts and credentials."""

from typing import Any

from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError, fields, validate, validates_schema

from app.api.fields import Email, Number, Text, Timestamp
from app.api.schema import Schema

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 200
password_length = validate.Length(MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH)


def valid_email(value: str) -> None:
    try:
        validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise ValidationError("Must be an e-mail address, such as ana@example.com.") from None


def new_email(**kwargs: Any) -> Email:
    field = Email(**kwargs)
    field.validators.append(valid_email)
    return field


class UserSchema(Schema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    email = fields.String(required=True)
    avatar_url = fields.URL(required=True)
    utc = fields.Float(required=True, metadata={"description": "The user's time zone: offset in hours."})
    role = fields.String(required=True, validate=validate.OneOf(["user"]))
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class SignedInUserSchema(UserSchema):
    token = fields.String(required=True, metadata={"description": "Bearer token for every other request."})


class CredentialsSchema(Schema):
    email = Email(required=True, metadata={"example": "ana@example.com"})
    password = fields.String(required=True, validate=validate.Length(max=MAX_PASSWORD_LENGTH))


class NewUserSchema(Schema):
    name = Text(100, required=True, metadata={"example": "Ana"})
    email = new_email(required=True, metadata={"example": "ana@example.com"})
    password = fields.String(required=True, validate=password_length)


class PasswordSchema(Schema):
    """The current password, to confirm what cannot be undone."""

    password = fields.String(required=True, validate=validate.Length(max=MAX_PASSWORD_LENGTH))


class NewPasswordSchema(Schema):
    password = fields.String(required=True, validate=password_length)


class UserChangesSchema(Schema):
    name = Text(100)
    email = new_email()
    utc = Number(validate=validate.Range(-12, 14))
    password = fields.String(
        validate=password_length, metadata={"description": "Needs currentPassword, and revokes all older tokens."}
    )
    current_password = fields.String(validate=validate.Length(max=MAX_PASSWORD_LENGTH))

    @validates_schema
    def new_password_needs_current(self, data: dict[str, Any], **kwargs: Any) -> None:
        if "password" in data and "current_password" not in data:
            raise ValidationError("A new password needs the current one.", "currentPassword")
