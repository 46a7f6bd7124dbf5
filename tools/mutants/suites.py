"""The mutated modules, and the tests that should notice, most specific first."""

from dataclasses import dataclass

_SENDING = (
    "tests/integration/test_outbox.py",
    "tests/integration/test_suspension.py",
    "tests/integration/test_delivery.py",
    "tests/integration/test_digests.py",
    "tests/integration/test_limits.py",
    "tests/integration/test_neighbours.py",
)


@dataclass(frozen=True)
class Suite:
    """Test files in their order, and the functions to mutate (all, if empty)."""

    tests: tuple[str, ...]
    functions: tuple[str, ...] = ()

    @property
    def uses_a_database(self) -> bool:
        return any(test.startswith("tests/integration") for test in self.tests)


SUITES = {
    "app/repositories/outbox.py": Suite(_SENDING),
    "app/repositories/due.py": Suite(_SENDING),
    "app/repositories/claims.py": Suite(_SENDING),
    "app/repositories/merging.py": Suite(_SENDING),
    "app/repositories/settlements.py": Suite(_SENDING),
    "app/repositories/discord_limits.py": Suite(
        (
            "tests/integration/test_limits.py",
            "tests/integration/test_refusals.py",
            "tests/integration/test_neighbours.py",
            "tests/integration/test_suspension.py",
            "tests/integration/test_metrics.py",
        )
    ),
    "app/repositories/incidents.py": Suite(
        (
            "tests/integration/test_suspension.py",
            "tests/integration/test_outbox.py",
            "tests/integration/test_neighbours.py",
        )
    ),
    "app/repositories/access.py": Suite(
        (
            "tests/integration/test_tokens.py",
            "tests/integration/test_users.py",
            "tests/integration/test_traffic_sources.py",
            "tests/integration/test_webhooks.py",
            "tests/integration/test_bounds.py::test_no_large_body_of_a_token_that_is_good_for_nothing_is_read",
        )
    ),
    "app/delivery/settling.py": Suite(_SENDING),
    "app/delivery/troubles.py": Suite(("tests/unit/test_troubles.py", "tests/integration/test_neighbours.py")),
    "app/delivery/retry.py": Suite(("tests/unit/test_retry.py", "tests/integration/test_delivery.py")),
    "app/digests.py": Suite(("tests/unit/test_digest.py", "tests/integration/test_digests.py")),
    "app/api/auth.py": Suite(
        (
            "tests/integration/test_tokens.py",
            "tests/integration/test_users.py",
            "tests/integration/test_traffic_sources.py",
            "tests/integration/test_bounds.py::test_no_large_body_of_a_token_that_is_good_for_nothing_is_read",
            "tests/consistency/test_documents.py",
        )
    ),
    "app/security/redaction.py": Suite(("tests/unit/test_redaction.py",)),
    "app/repositories/webhooks.py": Suite(
        (
            "tests/integration/test_suspension.py",
            "tests/integration/test_webhooks.py",
            "tests/integration/test_outbox.py",
            "tests/integration/test_encryption.py",
            "tests/integration/test_neighbours.py",
        ),
        (
            "change",
            "resume",
            "resume_readable",
            "mute",
            "suspend",
            "delete",
            "_change",
            "_lock_source",
            "_make_due",
            "_pointing_at",
        ),
    ),
}
