"""What `make mutants` changes: one thing at a time, and what the document judges is still there."""

import re
from pathlib import Path

import pytest

from tools.mutants.__main__ import DOCUMENT, judged_the_same
from tools.mutants.mutations import mutants_of, sql_without_a_condition
from tools.mutants.suites import SUITES

ROOT = Path(__file__).parents[2]


def changed(source: str) -> list[str]:
    return [mutant.applied(source.encode()).decode() for mutant in mutants_of("m.py", source.encode())]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["x = (a <= b)", "x = (a >= b)"]),
        ("x = a == b", ["x = (a != b)"]),
        ("x = a and b", ["x = (a or b)", "x = (b)", "x = (a)"]),
        ("x = not a", ["x = (a)"]),
        ("x = True", ["x = False"]),
        ("x = 5", ["x = 6"]),
        ("x = a + b", ["x = (a - b)"]),
        ("x = q.where(a, b)", ["x = q.where(b)", "x = q.where(a)"]),
        ("x = q.where(a)", ["x = q.where()"]),
        ("x = q.order_by(a)", ["x = (q)"]),
        ("x = q.values(a=b, c=d)", ["x = q.values(c=d)", "x = q.values(a=b)"]),
        ("x = {a: b, c: d}", ["x = {c: d}", "x = {a: b}"]),
        ("if a:\n    b()", ["if (not (a)):\n    b()", "if a:\n    pass"]),
        ("def f():\n    return a", ["def f():\n    return None"]),
        ("raise a", ["pass"]),
        ("x = 'state'", ["x = 'mutated'"]),
    ],
)
def test_each_mutant_is_the_module_with_one_change(source: str, expected: list[str]) -> None:
    assert sorted(changed(source)) == sorted(expected)


@pytest.mark.parametrize(
    "source",
    [
        '"""Says what it is."""',
        "import a",
        "x: Literal['a'] = b",
        "log.error('no', 5)",
        "x = 'a message to people'",
        "x = f'{a + 1}'",
        "@cache(5)\ndef f(x: int) -> int: ...",
        "def f():\n    return None",
    ],
)
def test_what_is_no_behaviour_is_left_alone(source: str) -> None:
    assert changed(source) == []


def test_a_mutant_is_found_by_the_bytes_of_its_module() -> None:
    assert changed("é = 'für dich', 5  # ü\nü = 1") == [
        "é = 'für dich', 6  # ü\nü = 1",
        "é = 'für dich', 5  # ü\nü = 2",
    ]


def test_each_condition_of_a_statement_is_left_out_once() -> None:
    sql = "SELECT a FROM t WHERE a = 1 AND (b IS NULL OR b < :b) AND NOT EXISTS (SELECT 1 FROM u WHERE u.a = t.a)"
    assert [change for _, change in sql_without_a_condition(sql)] == [
        "without the condition a = 1",
        "without the condition (b IS NULL OR b < :b)",
        "without the condition b IS NULL",
        "without the condition b < :b",
        "without the condition NOT EXISTS (SELECT 1 FROM u WHERE u.a = t.a)",
        "without the condition u.a = t.a",
    ]
    texts = [text for text, _ in sql_without_a_condition(sql)]
    assert all(text.count(":b") == 1 for text in texts), "a parameter that is given must stay"
    assert "WHERE  (1 = 1 OR (a = 1)) AND (b" in texts[0]
    assert "( (1 = 0 AND (b IS NULL)) OR b < :b)" in texts[2]


def test_equal_changes_in_one_function_have_names_of_their_own() -> None:
    mutants = mutants_of("m.py", b"x = 1, 1")
    assert [mutant.name for mutant in mutants] == [
        "m.py module: 1 \N{RIGHTWARDS ARROW} 2",
        "m.py module: 1 \N{RIGHTWARDS ARROW} 2 (2)",
    ]


@pytest.mark.long
def test_what_the_document_judges_to_be_the_same_program_can_still_be_done() -> None:
    judged = judged_the_same(DOCUMENT.read_text())
    there = {
        mutant.name
        for path, suite in SUITES.items()
        for mutant in mutants_of(path, (ROOT / path).read_bytes(), suite.functions)
    }
    assert judged - there == set()
    assert len(judged) == len(re.findall(r"^\| `app/\S+` \| `\S+` \|", DOCUMENT.read_text(), re.MULTILINE))


def test_the_tests_that_should_notice_are_there() -> None:
    for path, suite in SUITES.items():
        assert (ROOT / path).exists()
        assert [test for test in suite.tests if not (ROOT / test.partition("::")[0]).exists()] == []
