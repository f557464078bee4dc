"""Mutants of a toy: which tokens can be broken, which tests notice, what the report says."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import mutants, notebooks
from tools.mutations import mutations

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def changes(source: str) -> list[str]:
    """The sources that one mutation makes of another."""
    return [m.apply(source) for m in mutations(source, "toy.py")]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a + b", ["a - b"]),
        ("(a) * (b)", ["(a) / (b)"]),
        ("a //b", ["a %b"]),
        ("x = 'π' @ y", ["x = 'π' * y"]),
        ("a -= b", ["a += b"]),
        ("(a  # and so\n and b)", ["(a  # and so\n or b)"]),
        ("a < b", ["a <= b", "a >= b"]),
        ("a == b != c", ["a != b != c", "a == b == c"]),
        ("a not in b", ["a in b"]),
        ("a is  b", ["a is not  b"]),
        ("f(-a)", ["f(a)"]),
        ("not a", ["a"]),
        ("f(~a)", ["f(a)"]),
        ("x = 2", ["x = 3", "x = 1"]),
        ("x = 0.5", ["x = 1.5"]),
        ("x = 1e-12", ["x = 1e-6"]),
        ("x = True", ["x = False"]),
        ("a.sum()", ["a.mean()"]),
        ("np.argmin(a)", ["np.argmax(a)"]),
        ("any(a)", ["all(a)"]),
        ("sum(a)", []),
        ("a.sum", []),
        ("'a' 'b'", []),
        ("f({'it is one.': 1, SAID: a + b})", []),
        ("{'one': 1, **c}", ["{'one': 2, **c}", "{'one': 0, **c}"]),
    ],
)
def test_operators_comparisons_constants_signs_and_reductions_are_broken(source, found):
    assert changes(source) == found


SPOKEN = '''
def f(x: "int | None" = None) -> "a + b":
    """What 1 + 1 is."""
    got = " and ".join(x[:6]) + " ..."
    if g(x):
        raise error("x", "1 of " + got, x + 1)
    return f"{x + 1}"

def __repr__(self):
    return 1 + 1
'''


def test_messages_and_annotations_are_left_alone():
    assert changes(SPOKEN) == []
    assert changes("y: 3 = g(x)") == []


def test_a_name_that_is_also_used_is_not_a_message():
    source = "def f(x):\n    got = x + y\n    if got:\n        raise error(got)"
    assert changes(source) == [source.replace("+", "-")]


def test_a_mutation_of_the_package_is_another_program():
    for path in sorted((ROOT / "dpo_edu").glob("*.py")):
        source = path.read_text("utf-8")
        plain = ast.dump(ast.parse(source))
        for mutation in mutations(source, path.name)[::20]:
            assert ast.dump(ast.parse(mutation.apply(source))) != plain, mutation


def test_a_draw_is_proportional_repeatable_and_kept_by_edits_elsewhere():
    line = "z = a + b * c - d / e\n"
    sources = {"long.py": "".join(line.replace("z", f"z{k}") for k in range(30)), "short.py": line}
    drawn = mutants.draw(sources, 62, seed=3)
    assert [sum(m.module == name for m in drawn) for name in sources] == [60, 2]
    assert drawn == mutants.draw(sources, 62, seed=3)
    assert drawn != mutants.draw(sources, 62, seed=4)
    shifted = mutants.draw({**sources, "long.py": "import a\n" + sources["long.py"]}, 62, seed=3)
    assert [m.key for m in shifted] == [m.key for m in drawn]
    assert len(set(drawn)) == len(drawn)


TOY = '''
def halve(n):
    """Down to nothing.

    >>> halve(3.5)
    0.0
    """
    while n:
        n //= y
    return n

def seen_elsewhere(x):
    return x > x.real * y

def seen_in_the_notebook(x):
    return x * x

def same(x):
    return abs(x) / one

def unseen(x):
    return -x

y = 2
one = 1
'''
OWN = """
from dpo_edu import toy

def test_own():
    assert toy.halve(1) == 0
    assert (toy.y, toy.one) == (2, 1)
"""
ELSEWHERE = """
from dpo_edu import toy

def test_it():
    assert [toy.seen_elsewhere(x) for x in (-1, 0, 1)] == [True, False, False]
"""
NOTEBOOK = "from dpo_edu import toy\nassert toy.seen_in_the_notebook(3) == 9"
EXCUSED = """
[[excused]]
module = "toy.py"
line = "return abs(x) / one"
mutation = "/ -> *"
argument = "dividing by one is multiplying by it"
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one module, two test files, a notebook and an excuse."""
    root = tmp_path_factory.mktemp("toy")
    texts = {"dpo_edu/__init__.py": "", "dpo_edu/toy.py": TOY, "pyproject.toml": ""}
    texts |= {"tests/test_toy.py": OWN, "tests/test_elsewhere.py": ELSEWHERE}
    texts["tests/mutants_excused.toml"] = EXCUSED
    for name, text in texts.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, "utf-8")
    notebooks.write(
        new_notebook(cells=[new_code_cell(NOTEBOOK, id="a")]), root / "notebooks/01_toy.ipynb"
    )
    return root


def run(root: Path, *arguments: str) -> tuple[int, str]:
    """The command on another project; in a process of its own, for it forks."""
    code = "import sys; from pathlib import Path; from tools import mutants; mutants.HEAVY = []; "
    code += "mutants.FLOOR_SECONDS = 1.0; sys.exit(mutants.main(sys.argv[2:], Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(root), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_each_mutant_of_a_toy_is_noticed_where_it_should_be(toy: Path):
    status, said = run(toy, "--number", "1000", "--seed", "5")
    written = (toy / "build" / "mutants.md").read_text("utf-8")
    assert status == 1
    assert written in said
    assert "# Mutants, seed 5" in written
    parts = written.split("\n## ")
    assert "- toy.py:22 `return -x`: - -> nothing\n" in parts[1]
    assert "- toy.py:19 `return abs(x) / one`: / -> * (dividing by one" in parts[2]
    assert "- toy.py:16 `return x * x`: * -> / (01_toy.ipynb)" in parts[3]
    assert "- toy.py:13 `return x > x.real * y`: > -> >= (tests/test_elsewhere.py)" in parts[4]
    total = [int(cell) for cell in parts[0].split("| all |")[1].strip(" |\n").split(" | ")]
    assert total[0] == sum(total[1:]) == len(mutations(TOY, "toy.py"))
    assert total[4] == 1


def test_what_survived_is_tried_again_and_a_test_kills_it(toy: Path):
    path = toy / "tests" / "test_toy.py"
    path.write_text(f"{OWN}    assert toy.unseen(2) == -2\n", "utf-8")
    status, said = run(toy, "--number", "1000", "--seed", "5", "--again")
    assert status == 0, said


def test_an_excuse_for_no_mutant_is_an_error(toy: Path):
    path = toy / "tests" / "mutants_excused.toml"
    path.write_text(EXCUSED.replace("one", "two", 1), "utf-8")
    status, said = run(toy)
    assert status == 1
    assert "excused, but not in the package: toy.py | return abs(x) / two | / -> *" in said


def test_tests_that_fail_without_a_mutant_end_the_run(toy: Path):
    (toy / "tests" / "mutants_excused.toml").write_text("", "utf-8")
    (toy / "tests" / "test_toy.py").write_text("def test_no():\n    assert False", "utf-8")
    assert "tests of toy.py fails without a mutant" in run(toy)[1]


def test_excuses_are_of_mutants_that_exist_and_each_has_an_argument():
    path = ROOT / "tests" / "mutants_excused.toml"
    assert mutants.stale(mutants.excuses(path), ROOT) == []
    rows = tomllib.loads(path.read_text("utf-8")).get("excused", []) if path.exists() else []
    assert all(len(row["argument"].split()) > 5 for row in rows)
    assert len({(r["module"], r["line"], r["mutation"]) for r in rows}) == len(rows)
