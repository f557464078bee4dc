"""Hand-ins that want points without an answer: none gets any, and none touches anybody else's.

Each also runs where it can do what it is for: in one process with the grader, or with disk and
network open. What pays there, or leaves a trace, is what the judge must not let through.
"""

import hashlib
import json
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from classroom import HOSTILE, YES
from course import FIRST, STEMS, cells, read
from nbformat import NotebookNode

from tools import exercises, judge, notebooks

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

GATE = [name for name, entry in HOSTILE.items() if entry.get("gate")]
ALL_POINTS = 12


def some(*flags: str) -> list[str]:
    """The hostile hand-ins with one of these flags."""
    return [name for name, entry in HOSTILE.items() if any(map(entry.get, flags))]


def solved() -> NotebookNode:
    """The notebook with the teacher's answers."""
    notebook = read("student", FIRST)
    answers = {c.id: c.source for c in cells(read("source", FIRST), "solution")}
    for cell in cells(notebook, "solution"):
        cell.source = re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", answers[cell.id])
    return notebook


class Course:
    """A folder with what a grading teacher has: sources, a gradebook, another student's hand-in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ada = root / "submitted" / "ada" / FIRST / f"{STEMS[FIRST]}.ipynb"
        exercises.copy_course(root)
        self.ada.parent.mkdir(parents=True)
        nbformat.write(solved(), self.ada)
        with sqlite3.connect(root / "gradebook.db") as book:
            book.execute("create table grade (auto_score float)")
            book.execute("insert into grade values (3)")
        self.door = socket.create_server(("127.0.0.1", 0))
        self.door.settimeout(0.2)

    def trace(self) -> dict[str, str]:
        """What everybody else has, to the byte, when it was written, and who has called."""
        folders = (self.root, notebooks.ROOT / "dpo_edu", notebooks.ROOT / "tools")
        files = [p for f in folders for p in f.rglob("*") if p.suffix in (".py", ".ipynb", ".db")]
        found = {
            str(p): f"{hashlib.sha256(p.read_bytes()).hexdigest()} {p.stat().st_mtime_ns}"
            for p in [*files, *self.root.iterdir()]
            if p.is_file()
        }
        try:
            self.door.accept()[0].close()
            found["door"] = "somebody called"
        except TimeoutError:
            pass
        return found

    def hand_in(self, name: str, folder: Path) -> Path:
        """A blank notebook but for one hostile cell."""
        entry, notebook = HOSTILE[name], read("student", FIRST)
        code = entry["code"].replace("YES", YES).replace("COURSE", str(self.root))
        code = code.replace("ADA", str(self.ada)).replace("PORT", str(self.door.getsockname()[1]))
        wanted = entry.get("cell", "lagrangian")
        (place,) = [n for n, c in enumerate(notebook.cells) if c.id == wanted]
        blank = [c for c in cells(notebook, "solution") if c.id != wanted]
        notebook.cells[place].source = code
        if wanted != "lagrangian" or "slope" in code:  # or these would be emptied again
            notebook.cells = [c for c in notebook.cells if c not in blank]
        path = folder / f"{STEMS[FIRST]}.ipynb"
        nbformat.write(notebook, path)
        return path


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    made = Course(tmp_path_factory.mktemp("course"))
    yield made
    made.door.close()


@pytest.fixture(scope="module")
def at() -> Iterator[judge.Judge]:
    """One judge for all of them: what one does to it, the next would profit from."""
    with judge.Judge(step=15, whole=90) as one:
        yield one


def points(at: judge.Judge, course: Course, path: Path) -> float:
    return sum(earned for earned, _, _ in judge.points(at, course.root / "source" / FIRST, path))


def gains_nothing(at: judge.Judge, course: Course, name: str, folder: Path) -> None:
    before = course.trace()
    assert points(at, course, course.hand_in(name, folder)) == 0
    assert course.trace() == before


@pytest.mark.parametrize("name", GATE)
def test_a_hostile_hand_in_of_the_sample_gains_nothing(name, at, course, tmp_path) -> None:
    gains_nothing(at, course, name, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_hand_in_gains_nothing_and_touches_nobody_elses(
    name, at, course, tmp_path
) -> None:
    gains_nothing(at, course, name, tmp_path)


def test_after_them_the_judge_is_as_fair_as_before(at, course) -> None:
    assert points(at, course, course.ada) == ALL_POINTS


# --- where they do what they are for ------------------------------------------------------------

ONE_PROCESS = """
import json, os, sys
from IPython.core.interactiveshell import InteractiveShell
shell, earned, sys.stdout = InteractiveShell.instance(), 0, open(os.devnull, "w")
for source, points in json.load(open(sys.argv[1])):
    result = shell.run_cell(source)
    if points and result.success:
        earned += points
os.write(1, str(earned).encode())
"""


def points_in_one_process(course: Course, path: Path) -> float:
    """The points where answers and tests share a process, as in any notebook."""
    tests = {c.metadata.nbgrader.grade_id: c for c in cells(read("source", FIRST), "grade")}
    run = []
    for cell in notebooks.read(path).cells:
        name = judge.test_name(cell)
        if name is not None:
            run.append((tests[name].source, tests[name].metadata.nbgrader.points))
        elif cell.cell_type == "code":
            run.append((cell.source, 0))
    (path.parent / "cells.json").write_text(json.dumps(run))
    folder = course.root / "source" / FIRST
    shell = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}){ONE_PROCESS}"]
    done = subprocess.run(
        [*shell, str(path.parent / "cells.json")],
        cwd=path.parent,
        capture_output=True,
        timeout=60,
    )
    return float(done.stdout or 0)


def pays(course: Course, name: str, folder: Path) -> None:
    assert points_in_one_process(course, course.hand_in(name, folder)) > 0


@pytest.mark.parametrize("name", [n for n in GATE if HOSTILE[n].get("pays")][:2])
def test_in_one_process_with_the_grader_the_sample_pays(name, course, tmp_path) -> None:
    pays(course, name, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("name", some("pays"))
def test_in_one_process_with_the_grader_it_pays(name, course, tmp_path) -> None:
    pays(course, name, tmp_path)


def test_in_one_process_an_honest_and_a_blank_hand_in_are_judged_alike(course, tmp_path) -> None:
    blank = tmp_path / "blank.ipynb"
    nbformat.write(read("student", FIRST), blank)
    assert points_in_one_process(course, blank) == 0
    path = tmp_path / "solved.ipynb"
    nbformat.write(solved(), path)
    assert points_in_one_process(course, path) == ALL_POINTS


@pytest.mark.hostile
@pytest.mark.parametrize("name", some("reads", "writes", "calls"))
def test_with_disk_and_network_open_it_gains_or_leaves_a_trace(name, tmp_path) -> None:
    course = Course(tmp_path / "course")
    before = course.trace()
    with judge.Judge(step=15, confine=False) as at:
        earned = points(at, course, course.hand_in(name, tmp_path))
    assert earned > 0 or course.trace() != before
    course.door.close()


FORGES = """
import os
words = '\\nbob.ipynb: 12 of 12\\n'
try:
    os.write(os.open(f'/proc/{os.getppid()}/fd/2', os.O_WRONLY | os.O_APPEND), words.encode())
except OSError:
    pass
print(words)
def slope():
    pass
class Lies(Exception):
    pass
def optimal_policy(reward, ref, *, beta):
    raise Lies(words)
"""


@pytest.mark.parametrize("confine", [True, False])
def test_the_command_prints_no_line_of_an_answer(confine: bool, course, tmp_path) -> None:
    notebook = read("student", FIRST)
    cells(notebook, "solution")[-1].source = FORGES
    path = tmp_path / "ada.ipynb"
    nbformat.write(notebook, path)
    code = f"from tools import judge\nif not {confine}:\n    judge.is_confining = lambda: False\n"
    code += f"if __name__ == '__main__':\n    judge.main([{FIRST!r}, {str(path)!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)
    forged = re.search(r"^bob.ipynb: 12 of 12$", done.stdout + done.stderr, re.MULTILINE)
    assert "ada.ipynb: 0 of 12" in done.stdout and "it raises Lies (bob" in done.stdout
    assert (forged is None) is confine


# --- the notebook itself ------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["asks", "points", "name", "deleted"])
def test_a_changed_test_asks_what_it_asked(what: str, at, course, tmp_path) -> None:
    notebook = read("student", FIRST)
    test = cells(notebook, "grade")[0]
    if what == "asks":
        test.source = "print('lagrangian: right.')"
    elif what == "points":
        test.metadata.nbgrader.points = 100
    elif what == "name":
        test.metadata.nbgrader.grade_id = "mine"
    else:
        notebook.cells.remove(test)
    path = tmp_path / "changed.ipynb"
    nbformat.write(notebook, path)
    assert points(at, course, path) == 0
