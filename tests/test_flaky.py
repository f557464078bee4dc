"""A toy whose tests fail for some seeds and in some orders: both are found and named."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
TOY = """
import random
from hypothesis import given, strategies as st

seen = []

def test_first():
    seen.append(1)

def test_second():
    assert seen

@given(st.integers(0, 9))
def test_of_a_draw(number):
    assert random.Random(number).random() >= 0

@given(st.integers(0, 10**6))
def test_of_a_rare_draw(number):
    assert number % 1000 != 7
"""


def test_failing_seeds_and_orders_are_found_and_named(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_toy.py").write_text(TOY, "utf-8")
    (tmp_path / "pyproject.toml").write_text("", "utf-8")
    code = "import sys; from pathlib import Path; from tools import flaky, mutants; "
    code += "mutants.HEAVY = []; sys.exit(flaky.main(sys.argv[2:], Path(sys.argv[1])))"
    options = [str(tmp_path), "--only", "toy", "--seeds", "30"]
    command = [sys.executable, "-c", code, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    runs = done.stdout.split("  seed ")[1:]
    assert done.returncode == 1, done.stderr
    assert [run.split()[1] for run in runs] == ["properties"] * 30 + ["all"] * 3
    rare = ["test_of_a_rare_draw" in run for run in runs[:30]]
    assert any(rare) and not all(rare)
    assert ["test_toy.py::test_second" in run for run in runs[30:32]] == [False, True]
    assert "test_of_a_draw" not in done.stdout and "test_first" not in done.stdout
