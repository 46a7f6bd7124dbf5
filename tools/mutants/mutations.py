"""Generates mutants: small changes to a module that its tests should notice. Pure.

Also removes conditions of queries and of SQL texts, on which most of this service's promises depend.
"""

import ast
import copy
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

# Nodes that have a position in the source.
Node = ast.expr | ast.stmt
COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
}
# Calls that remain valid without one of their arguments.
CONDITIONS = ("where", "and_", "or_")
OPTIONS = ("values", "with_for_update")
STEPS = ("order_by", "limit", "with_for_update")
# A word: a state, a column, a key. Longer texts are messages to people.
WORD = re.compile(r"[A-Za-z_]+")
# Functions that only log.
LOGGING = ("_log",)


@dataclass(frozen=True)
class Mutant:
    """One change: ``path`` with ``text`` in place of the bytes from ``begin`` to ``end``.

    ``change`` describes it in one line; ``path``, ``function``, ``change`` and ``number`` are its permanent name.
    """

    path: str
    line: int
    function: str
    change: str
    begin: int
    end: int
    text: str
    number: int = 1

    @property
    def name(self) -> str:
        return f"{self.path} {self.function}: {self.change}" + (f" ({self.number})" if self.number > 1 else "")

    def applied(self, source: bytes) -> bytes:
        return source[: self.begin] + self.text.encode() + source[self.end :]


def mutants_of(path: str, source: bytes, functions: tuple[str, ...] = ()) -> list[Mutant]:
    """All mutants of a module, or of its ``functions``, in the order of lines."""
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    found: list[Mutant] = []
    seen: Counter[tuple[str, str]] = Counter()
    for function, node, text, change in _walk(ast.parse(source), "module"):
        if functions and function.split(".")[-1] not in functions:
            continue
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin, end = lines[node.lineno - 1] + node.col_offset, lines[node.end_lineno - 1] + node.end_col_offset
        seen[function, change] += 1
        mutant = Mutant(path, node.lineno, function, change, begin, end, text, seen[function, change])
        if _differs(mutant, source):
            found.append(mutant)
    return sorted(found, key=lambda mutant: (mutant.begin, mutant.change))


def _differs(mutant: Mutant, source: bytes) -> bool:
    """Whether the mutant is valid Python, and another program than ``source``."""
    try:
        return ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


Change = tuple[Node, str, str]


def _walk(node: ast.AST, function: str) -> Iterator[tuple[str, Node, str, str]]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        function = node.name if function == "module" else f"{function}.{node.name}"
        if node.name in LOGGING:
            return
    if _is_left_alone(node):
        return
    for changed, text, change in _changes(node):
        yield function, changed, text, change
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, function)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr():
            return True
        case ast.Expr(ast.Constant()):
            return True
        case ast.Call(ast.Attribute(ast.Name("log"))) | ast.Call(ast.Name("cast" | "TypeVar")):
            return True
    return False


def _changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[operator]):
            for other in COMPARISONS.get(type(operator), []):
                yield _expression(node, ops=[other()])
        case ast.BoolOp(operator, values):
            yield _expression(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
            for value in values:
                rest = [each for each in values if each is not value]
                left = rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
                yield node, f"({ast.unparse(left)})", f"without {_short(value)}"
        case ast.UnaryOp(ast.Not() | ast.Invert() | ast.USub(), operand):
            yield node, f"({ast.unparse(operand)})", f"{_short(node)} → {_short(operand)}"
        case ast.BinOp(_, operator, _) if type(operator) in ARITHMETIC:
            yield _expression(node, op=ARITHMETIC[type(operator)]())
        case ast.BinOp(left, ast.BitOr(), right):
            yield node, f"({ast.unparse(left)})", f"without | {_short(right)}"
        case ast.Constant():
            yield from _constants(node)
        case ast.Call():
            yield from _calls(node)
        case ast.Dict(keys, values) if len(keys) > 1:
            for key, value in zip(keys, values, strict=True):
                pairs = [(k, v) for k, v in zip(keys, values, strict=True) if v is not value]
                left = ast.Dict([k for k, _ in pairs], [v for _, v in pairs])
                yield node, ast.unparse(left), f"without {_short(key) if key else '**'}: {_short(value)}"
        case ast.IfExp(test, body, orelse):
            yield _expression(node, body=orelse, orelse=body)
        case ast.If(test) | ast.comprehension(ifs=[test]) | ast.match_case(guard=ast.expr() as test):
            yield test, f"(not ({ast.unparse(test)}))", f"if {_short(test)} → if not"
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise():
            if not _is_left_alone(node.value if isinstance(node, ast.Expr) else node):
                yield node, "pass", f"without {_short(node)}"
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield node, "pass", f"without {_short(node)}"
        case ast.Return(ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield node, "return None", f"{_short(node)} → return None"
        case ast.Break():
            yield node, "continue", "break → continue"


def _expression(node: ast.expr, **fields: object) -> Change:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return node, f"({ast.unparse(other)})", f"{_short(node)} → {_short(other)}"


def _constants(node: ast.Constant) -> Iterator[Change]:
    match node.value:
        case bool(value):
            yield node, str(not value), f"{value} → {not value}"
        case int(value) | float(value):
            yield node, repr(value + 1), f"{value} → {value + 1}"
        case str(value) if "SELECT" in value:
            for other, change in sql_without_a_condition(value):
                yield node, repr(other), change
        case str(value) if WORD.fullmatch(value):
            yield node, "'mutated'", f"{value!r} → 'mutated'"


def _calls(node: ast.Call) -> Iterator[Change]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in CONDITIONS and (len(node.args) > 1 or name == "where"):
        for argument in node.args:
            left = _call(node, [each for each in node.args if each is not argument], node.keywords)
            yield node, left, f"without the condition {_short(argument)}"
    if name in OPTIONS:
        for keyword in node.keywords:
            left = _call(node, node.args, [each for each in node.keywords if each is not keyword])
            yield node, left, f"without {_short(keyword)}"
    if name in STEPS and isinstance(node.func, ast.Attribute):
        arguments = _short(ast.Call(ast.Name(name), node.args, node.keywords))
        yield node, f"({ast.unparse(node.func.value)})", f"without .{arguments}"
    if name in ("min", "max"):
        other = ast.Call(ast.Name("max" if name == "min" else "min"), node.args, node.keywords)
        yield node, ast.unparse(other), f"{_short(node)} → {_short(other)}"


def _call(node: ast.Call, args: list[ast.expr], keywords: list[ast.keyword]) -> str:
    return ast.unparse(ast.Call(node.func, args, keywords))


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 100 else f"{text[:60]} … {text[-37:]}"


_BEFORE_CONDITION = re.compile(r"\b(?:AND|OR|WHERE|WHEN)\s|\(")
_AFTER_CONDITION = re.compile(r"\b(?:AND|OR|THEN|ORDER|GROUP|LIMIT|UNION|LEFT|FROM|SELECT|JOIN)\b|[()]")


def sql_without_a_condition(sql: str) -> Iterator[tuple[str, str]]:
    """Pairs of ``sql`` with one condition made always true (beside an OR, always false), and a description."""
    for before in _BEFORE_CONDITION.finditer(sql):
        begin, end, behind = before.end(), before.end(), ""
        depth = 0
        for after in _AFTER_CONDITION.finditer(sql, begin):
            depth += {"(": 1, ")": -1}.get(after[0], 0)
            if depth < 0 or (depth == 0 and after[0] not in "()"):
                end, behind = after.start(), after[0]
                break
        else:
            end = len(sql)
        condition = sql[begin:end].strip()
        is_first_in_brackets = before[0] == "("
        if not condition or (is_first_in_brackets and behind not in ("AND", "OR")):
            continue
        beside_or = "OR" in (before[0].strip(), behind)
        # Keep the condition's text, since its parameters are bound.
        neutral = f" (1 = 0 AND ({condition})) " if beside_or else f" (1 = 1 OR ({condition})) "
        yield sql[:begin] + neutral + sql[end:], f"without the condition {' '.join(condition.split())}"
