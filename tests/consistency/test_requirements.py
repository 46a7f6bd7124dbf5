"""requirements*.txt are what `make requirements` compiles from requirements*.in, which name all that is imported."""

import ast
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"app", "deploy", "tests", "tools"}
# Plugins of pytest that are used by their options or fixtures, and programs that are run.
NOT_IMPORTED = {
    *("bandit", "djlint", "import-linter", "mypy", "openapi-python-client", "pip-audit", "ruff", "uv"),
    *("types-protobuf", "types-psutil"),
}
# What the service names in settings or runs without importing it.
NAMED = {"gunicorn", "python-json-logger"}
SERVICE = ["app", "migrations/env.py", "wsgi.py", "gunicorn.conf.py"]
REST = ["deploy", "migrations/versions", "tests", "tools"]


def declared(name: str) -> dict[str, str]:
    """Direct requirements and their versions."""
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith(("#", "-r ")):
            continue
        requirement = re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z]+\])?==([\w.]+)", line)
        assert requirement, f"{name}: {line} is no exact version"
        found[requirement[1]] = requirement[2]
    return found


def compiled(name: str, folder: Path = ROOT) -> dict[str, str]:
    text = (folder / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==([\w.]+)", text, re.MULTILINE))


def imported(paths: list[str]) -> set[str]:
    """Distributions that the files and folders import."""
    modules = set()
    for path in paths:
        for file in [ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {name.name.partition(".")[0] for name in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules.add(str(node.module).partition(".")[0])
    foreign = modules - OURS - set(sys.stdlib_module_names) - {"_typeshed"}
    there = packages_distributions()
    return {normal(there[module][0]) for module in foreign}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_service_requires_directly_what_it_imports_and_nothing_else():
    assert imported(SERVICE) | NAMED == set(declared("requirements.in"))


def test_tests_and_tools_require_directly_what_they_import():
    required = set(declared("requirements.in")) | set(declared("requirements-dev.in"))
    assert imported(REST) - required == set()
    unused = set(declared("requirements-dev.in")) - imported(REST) - NOT_IMPORTED
    assert {name for name in unused if not name.startswith("pytest-")} == set()


def test_compiled_requirements_hold_every_direct_one_and_those_of_the_service():
    service, everything = compiled("requirements.txt"), compiled("requirements-dev.txt")
    assert declared("requirements.in").items() <= service.items()
    assert service.items() | declared("requirements-dev.in").items() <= everything.items()


def test_compiled_requirements_keep_the_extras_that_packages_ask_for():
    """pip holds `coverage[toml]` unpinned, and refuses it, once a later coverage than the pinned one is out."""
    text = (ROOT / "requirements-dev.txt").read_text()
    names = compiled("requirements-dev.txt")
    requirements = [line for found in distributions() if normal(found.name) in names for line in found.requires or []]
    extras = [re.match(r"([\w.-]+)(\[\w+\])[^;]*$", line) for line in requirements]
    asked = {normal(extra[1]) + extra[2] + "==" for extra in extras if extra}
    assert "coverage[toml]==" in asked
    assert [name for name in asked if f"\n{name}" not in text] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_compiled_requirement_has_hashes_and_none_says_where_it_comes_from(name):
    text = (ROOT / name).read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if not re.match(r" *#", line)]
    assert [line for line in lines if "--hash=sha256:" not in line] == []
    assert not re.search(r"https?:|file:|^--?\w", text, re.MULTILINE)


def test_nothing_would_change_by_compiling_again(tmp_path):
    if not (Path(sys.prefix) / "bin/uv").exists():
        pytest.skip("requirements*.txt are NOT compared with requirements*.in here: uv is not installed.")
    files = ["requirements.in", "requirements.txt", "requirements-dev.in", "requirements-dev.txt"]
    for name in ["Makefile", *files]:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    command = ["make", "--old-file", ".venv/installed", "--old-file", ".venv/installed-dev", "requirements"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and "No solution found" not in done.stderr:
        pytest.skip(f"requirements*.txt are NOT compared with requirements*.in here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    # Versions only: a release may get more files, and so more hashes, at any time.
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert compiled(name, tmp_path) == compiled(name), "run `make requirements`"
