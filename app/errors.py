"""The domain's errors, without HTTP: ``api/errors.py`` maps each class to a status."""


class ServiceError(Exception):
    """Base of the domain's errors.

    ``message`` is one sentence that a person can act on, ``errors`` optional messages by field.
    """

    message = "The request could not be carried out."

    def __init__(self, message: str | None = None, errors: dict[str, list[str]] | None = None) -> None:
        self.message = message or self.message
        self.errors = errors
        super().__init__(self.message)


class Unauthenticated(ServiceError):
    message = "The requester is not authenticated."


class MissingToken(Unauthenticated):
    message = "Missing authentication token."


class InvalidToken(Unauthenticated):
    message = "The provided token is invalid. Sign in again to get a new one."


class InvalidCredentials(Unauthenticated):
    message = "The e-mail or the password is wrong."


class UnusableLink(ServiceError):
    message = "This link to set a password is unknown, used already, or older than an hour: ask for another."


class SharedWithOneself(ServiceError):
    message = "userEmail: This is your own e-mail. Invite somebody else."


class NotFound(ServiceError):
    message = "The requested resource was not found."


class TrafficSourceNotFound(NotFound):
    message = "The specified traffic source was not found."


class WebhookNotFound(NotFound):
    message = "The specified webhook was not found."


class AlertNotFound(NotFound):
    message = "The specified alert was not found."


class DeliveryNotFound(NotFound):
    message = "The specified delivery was not found."


class RecordNotFound(NotFound):
    message = "The specified traffic record was not found."


class DomainNotFound(NotFound):
    message = "The specified domain was not found on this traffic source."


class AccountNotFound(NotFound):
    message = "There is no account with this e-mail. Ask the person to sign up first."


class ShareNotFound(NotFound):
    message = "The specified share was not found."


class IngestTokenNotFound(NotFound):
    message = "The specified ingest token was not found."


class PermissionDenied(ServiceError):
    message = "You do not have permission to do this."


class NotYours(PermissionDenied):
    message = "You do not have permission on this traffic source."


class NotInvited(PermissionDenied):
    message = "Somebody else is invited: only they can answer."


class RegistrationClosed(PermissionDenied):
    message = "Registration is closed on this server. Ask its operator for an account."


class WrongCurrentPassword(PermissionDenied):
    message = "The current password is wrong."


class Conflict(ServiceError):
    message = "This conflicts with something that exists already."


class EmailTaken(Conflict):
    message = "An account with this e-mail exists already."


class DomainTaken(Conflict):
    message = "You already have a traffic source for this domain."


class LevelTaken(Conflict):
    message = "A webhook for this severity level already exists on this traffic source."


class SharedAlready(Conflict):
    message = "This user was invited already. To change what they may do, remove them and invite them again."


class ShareAnswered(Conflict):
    message = "This invitation was accepted or rejected already."


class DeliveryInProgress(Conflict):
    message = "This delivery is being sent right now."


class TooManyRequests(ServiceError):
    """``retry_after`` is in seconds."""

    def __init__(self, retry_after: int, message: str) -> None:
        self.retry_after = retry_after
        super().__init__(f"{message} Try again in {retry_after:,} seconds.")


class TooManySources(TooManyRequests):
    def __init__(self, limit: int) -> None:
        super().__init__(3600, f"You have {limit:,} traffic sources, as many as one user may have here: delete one.")


class TooManyTokens(TooManyRequests):
    def __init__(self, limit: int) -> None:
        super().__init__(3600, f"This traffic source has {limit:,} ingest tokens, as many as it may have: revoke one.")


class TooManyAlerts(TooManyRequests):
    def __init__(self, limit: int) -> None:
        super().__init__(3600, f"This traffic source has {limit:,} alerts, as many as it may have: delete one.")


class Unavailable(ServiceError):
    message = "The service is not ready."


class TrafficSourceChanged(Unavailable):
    """Concurrent requests created or removed the same domains and pathnames at each attempt to store a report."""

    message = "The traffic source changed meanwhile. Try again."
