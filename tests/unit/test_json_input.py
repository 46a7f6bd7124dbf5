"""JSON of strangers: counted before it is parsed, and repaired where it is nearly JSON."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.json_input import TOO_DEEP, ValueBudget, holds_more_values, loads_repaired
from tests.support import examples

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def count_values(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(count_values, value.values()))
    return 1 + sum(map(count_values, value)) if isinstance(value, list) else 1


@examples(200)
@given(json_values)
def test_a_body_is_never_taken_for_smaller_than_it_is(value: Any) -> None:
    body = orjson.dumps(value)
    assert holds_more_values(body, (count_values(value) - 1) // 2 - 1) or count_values(value) < 4
    assert not holds_more_values(body, 2 * count_values(value))


def test_what_stands_in_strings_does_not_count() -> None:
    assert not holds_more_values(orjson.dumps([",[{" * 1000, '\\",\\"' * 1000]), 10)
    assert holds_more_values(b"[" * 11 + b'"', 10)


@pytest.mark.parametrize(
    "body", [b'"', b'"\\', b'["a\\"', b'"' + b'\\"' * 1_000_000, b"[" * 1_000_000 + b'"' * 999_999]
)
def test_text_that_is_no_json_is_counted_in_linear_time(body: bytes) -> None:
    holds_more_values(body, 1)


def test_a_budget_is_used_up_by_what_it_allows() -> None:
    budget = ValueBudget(10)
    assert budget.allows("[1,2,3,4]")
    assert not budget.allows("[1,2,3,4,5,6,7]")
    assert budget.allows("[1,2]")
    assert budget.left == 4


@examples(100)
@given(json_values)
def test_json_is_repaired_to_itself(value: Any) -> None:
    body = orjson.dumps(value)
    assert loads_repaired(body) == orjson.loads(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (rb'["\ud800"]', ["\N{REPLACEMENT CHARACTER}"]),
        (rb'["\ud83d\ude00"]', ["\N{GRINNING FACE}"]),
        (rb'["\\ud800"]', ["\\ud800"]),
        (b'["\xff"]', ["\N{REPLACEMENT CHARACTER}"]),
        (b"[NaN, -Infinity, Infinity]", [None, None, None]),
        (b"[1e999, -1e999]", [None, None]),
        (b"[%d]" % 10**400, [None]),
        (b"[%d, 12345678901234567]" % 10**30, [1e30, 12345678901234567]),
    ],
)
def test_what_strangers_make_others_write_is_repaired(body: bytes, said: Any) -> None:
    assert loads_repaired(body) == said


@pytest.mark.parametrize("depth", [1_100, 2_000, 100_000])
def test_what_is_nested_too_deep_becomes_a_text_and_costs_nothing_beside_it(depth: int) -> None:
    body = b'[{"a": "]}["}, ' + b"[" * depth + b"]" * depth + b', {"b": {}}, ' + b'{"x":' * depth + b"1" + b"}" * depth
    first, deep, second, deeper = loads_repaired(body + b"]")
    assert (first, second) == ({"a": "]}["}, {"b": {}})
    assert TOO_DEEP in json.dumps(deep)
    assert TOO_DEEP in json.dumps(deeper)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": "\\ud800"', b"[1,]", b"nan", b"[" * 100_000, b"]" * 200, b"\xff"])
def test_what_is_no_json_stays_none(body: bytes) -> None:
    with pytest.raises(ValueError):
        loads_repaired(body)
