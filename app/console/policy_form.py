"""The form of a policy: rules are numbered rows, of which empty ones are left out, and the reminder is in minutes."""

import re
from collections import defaultdict
from typing import Any

from marshmallow import ValidationError

from app.api.policies.schemas import MAX_RULES, PolicySchema
from app.console.forms import Form
from app.console.numerals import decimal, integer

RULE_FIELD = re.compile(r"ignore\.([0-9]{1,3})\.(method|pathname|status)")
SPARE_ROWS = 3


def load(values: dict[str, str]) -> dict[str, Any]:
    """The policy that was typed. Raises ValidationError, which numbers the rules like ``tidy``."""
    threshold = {name: _typed(values, f"threshold.{name}") for name in ("events", "seconds")}
    role_id, minutes = _typed(values, "mention.roleId"), _typed(values, "remindAfterMinutes")
    policy: dict[str, Any] = PolicySchema().load(
        {
            "ignore": _rules(_rows(values)),
            "threshold": {name: integer(text) for name, text in threshold.items() if text} or None,
            "mention": {"roleId": role_id} if role_id else None,
            "remindAfterSeconds": _seconds(minutes) if minutes else None,
        }
    )
    if hopeless := {
        number: {"pathname": why} for number, rule in enumerate(policy["ignore"]) if (why := _hopeless(rule))
    }:
        raise ValidationError({"ignore": hopeless})
    return policy


def _hopeless(rule: dict[str, str]) -> list[str]:
    """Why a rule can match no path. The API takes such a rule, which does no harm."""
    glob = rule.get("pathname", "/")
    if not glob.startswith(("/", "*")):
        return ["Matches no path: must begin with / or *."]
    if "?" in glob or "#" in glob:
        return ["Matches no path: a path ends before ? and #. Use * for any text."]
    return []


def show(policy: dict[str, Any]) -> Form:
    """A form that holds ``policy``."""
    values = _numbered(policy["ignore"])
    for name, value in (policy["threshold"] or {}).items():
        values[f"threshold.{name}"] = str(value)
    if policy["mention"]:
        values["mention.roleId"] = policy["mention"]["role_id"]
    if policy["remind_after_seconds"]:
        values["remindAfterMinutes"] = f"{policy['remind_after_seconds'] / 60:.4f}".rstrip("0").rstrip(".")
    return Form(values)


def tidy(form: Form) -> Form:
    """The form with its rules numbered from 0, and with errors by the names of its fields."""
    values = {name: text for name, text in form.values.items() if not RULE_FIELD.fullmatch(name)}
    errors = {name.replace("remindAfterSeconds", "remindAfterMinutes"): texts for name, texts in form.errors.items()}
    return Form(values | _numbered(_rules(_rows(form.values))), errors, form.problem)


def count_rows(form: Form, *, spare: int = 0) -> int:
    """How many rows to show: those that came, and ``spare`` ones, up to the number of rules that a policy may have."""
    return max(min(len(_rows(form.values)) + spare, MAX_RULES), len(_rules(_rows(form.values))))


def _rows(values: dict[str, str]) -> list[dict[str, str]]:
    """The conditions typed in each row, in the order of the rows."""
    rows: dict[int, dict[str, str]] = defaultdict(dict)
    for field, text in values.items():
        if found := RULE_FIELD.fullmatch(field):
            # Spaces may belong to a path.
            typed = text if found[2] == "pathname" else text.strip()
            rows[int(found[1])] |= {found[2]: typed} if typed.strip() else {}
    return [rows[number] for number in sorted(rows)]


def _rules(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows that are not empty, up to one that is too many."""
    return [row for row in rows if row][: MAX_RULES + 1]


def _numbered(rules: list[dict[str, str]]) -> dict[str, str]:
    return {f"ignore.{number}.{name}": text for number, rule in enumerate(rules) for name, text in rule.items()}


def _typed(values: dict[str, str], name: str) -> str:
    return values.get(name, "").strip()


def _seconds(text: str) -> int | str:
    minutes = decimal(text)
    return minutes if isinstance(minutes, str) else round(minutes * 60)
