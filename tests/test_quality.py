"""Style, formatting and types, checked like everything else; graders of short functions."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GRADERS = sorted(path.relative_to(ROOT) for path in ROOT.glob("exercises/source/*/grader.py"))
# All graders are named grader.py, which one run of mypy does not allow.
TYPES = ["mypy", *(f"mypy {path.as_posix()}" for path in GRADERS)]


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", *TYPES])
def test_the_code_satisfies(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def lengths(source: str) -> dict[tuple[str, int], int]:
    """The lines of every function (its name and place), without those of its docstring."""
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef))
    return {
        (node.name, node.lineno): node.end_lineno - node.lineno + 1 - len((said or "").splitlines())
        for node in functions
        for said in [ast.get_docstring(node, clean=False)]
    }


@pytest.mark.parametrize("path", [Path("dpo_edu/grading.py"), *GRADERS], ids=Path.as_posix)
def test_a_function_that_judges_has_at_most_25_lines(path: Path) -> None:
    found = lengths((ROOT / path).read_text("utf-8"))
    assert {where: lines for where, lines in found.items() if lines > 25} == {}


def test_lines_are_counted_without_the_docstring() -> None:
    source = "def f(\n    x\n):\n    '''One.\n\n    Two.\n    '''\n\n    return x"
    assert lengths(source) == {("f", 1): 5}
