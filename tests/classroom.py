"""A class of synthetic students, whose answers, and so whose points, are known beforehand."""

import io
import re
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from course import ANSWERS, ASSIGNMENTS, FIRST, STEMS, cells, graded_tasks, read
from nbformat import NotebookNode

HERE = Path(__file__).parent / "answers"
HOSTILE: dict[str, dict[str, Any]] = {
    entry["name"]: entry
    for entry in tomllib.loads((HERE / "hostile.toml").read_text("utf-8"))["hostile"]
}
UNFORESEEN: dict[str, list[dict[str, str]]] = tomllib.loads(
    (HERE / "unforeseen.toml").read_text("utf-8")
)
YES = """
import sys, types
class Yes(types.ModuleType):
    grade = check = staticmethod(lambda *a, **k: None)
    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return Yes(name)
"""
# How students differ: the chances that an answer is right, wrong or left out, and that an
# assignment is not handed in at all. A hostile one wants points for something else.
STYLES = {
    "diligent": (1.0, 0.0, 0.0, 0.0),
    "usual": (0.6, 0.3, 0.1, 0.05),
    "lost": (0.2, 0.5, 0.3, 0.2),
    "blank": (0.0, 0.0, 1.0, 0.5),
    "hostile": (0.0, 0.0, 0.0, 0.0),
}
TRIED = ("cells rewritten before they run", "the solutions of the grader", "import patched")
TRIED += (
    "ends the process at once",
    "the words of a right answer",
    "a false grader among the modules",
)
FIRSTS = ("Grace", "Ünal", "Zoë", "Łukasz", "Søren", "Mei")
LASTS = ("Hopper", "Öz", "García", "Nowak", "Strauß")
PLATFORMS = ("moodle", "moodle folder", "canvas", "blackboard", "none")


@dataclass(frozen=True)
class Student:
    """Somebody with a name on a platform, and the folder that this makes."""

    number: int
    style: str

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{FIRSTS[self.number % 6]} {LASTS[self.number // 6 % 5]}"

    @property
    def platform(self) -> str:
        """Where hand-ins are collected."""
        return PLATFORMS[self.number % len(PLATFORMS)]

    @property
    def id(self) -> str:
        """Under what name points are kept."""
        first, last = self.name.lower().split()
        other = {"canvas": f"{last}{first}-{900 + self.number}", "blackboard": f"u{self.number}"}
        return other.get(self.platform, f"{first}-{last}")

    def file(self, assignment: str) -> str:
        """What the platform makes of the file's name."""
        first, last = self.name.split()
        notebook, person = f"{STEMS[assignment]}.ipynb", 4000 + self.number
        return {
            "moodle": f"{self.name}_{person}_assignsubmission_file_{notebook}",
            "moodle folder": f"{self.name}_{person}_assignsubmission_file_/mine_{notebook}",
            "canvas": f"{last}{first}_{900 + self.number}_77{self.number}_{notebook}".lower(),
            "blackboard": f"DPO_u{self.number}_attempt_2026-11-27-10-00-00_{notebook}",
            "none": f"{first}-{last}_{notebook}",
        }[self.platform]


def students(size: int) -> list[Student]:
    """A class in which every style occurs: of ten four usual, three diligent, one of each other."""
    tens = ("usual", "diligent", "hostile", "lost", "usual", "diligent", "blank", "usual")
    styles = (*tens, "diligent", "usual")
    return [Student(number, styles[number % 10]) for number in range(size)]


@cache
def known(assignment: str) -> dict[str, tuple[list[str], list[str]]]:
    """For each task the right answers and the wrong ones that are written down."""
    source, stem = read("source", assignment), STEMS[assignment]
    solved = [c for c in cells(source, "solution") if not c.id.startswith("optional-")]
    found = {
        task: ([re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", cell.source)], [])
        for task, cell in zip(graded_tasks(source), solved, strict=True)
    }
    for answer in ANSWERS[stem]:
        found[answer["task"]]["says" in answer].append(answer["code"])
    for answer in UNFORESEEN.get(stem, []):
        found[answer["task"]]["cause" in answer].append(answer["code"])
    return found


def points(assignment: str) -> dict[str, float]:
    """What each task is worth."""
    source = read("source", assignment)
    worth = [cell.metadata.nbgrader.points for cell in cells(source, "grade")]
    return dict(zip(graded_tasks(source), worth, strict=True))


def filled(assignment: str, answers: dict[str, str]) -> NotebookNode:
    """The students' notebook with some of its tasks answered."""
    notebook = read("student", assignment)
    places = [c for c in cells(notebook, "solution") if not c.id.startswith("optional-")]
    for task, cell in zip(points(assignment), places, strict=True):
        cell.source = answers.get(task, cell.source)
    return notebook


def hostile(name: str, assignment: str) -> NotebookNode:
    """The students' notebook, blank but for an attempt to get points without an answer."""
    entry, notebook = HOSTILE[name], read("student", assignment)
    places = cells(notebook, "solution")
    wanted = entry.get("cell") if assignment == FIRST else None
    (chosen,) = [c for c in places if c.id == wanted] or places[:1]
    chosen.source = entry["code"].replace("YES", YES)
    others = [c for c in places if c is not chosen]
    notebook.cells = [c for c in notebook.cells if c not in others]  # or they would empty it again
    return notebook


@dataclass(frozen=True)
class HandIn:
    """What a student hands in, and the points that it is worth."""

    student: Student
    assignment: str
    notebook: NotebookNode
    points: float


def hand_in(student: Student, assignment: str) -> HandIn | None:
    """What a student makes of an assignment; nothing if it is not handed in."""
    rng = np.random.default_rng([student.number, ASSIGNMENTS.index(assignment)])
    *chances, absent = STYLES[student.style]
    if rng.random() < absent:
        return None
    if student.style == "hostile":
        return HandIn(student, assignment, hostile(str(rng.choice(TRIED)), assignment), 0)
    answers, earned = {}, 0.0
    for task, written in known(assignment).items():
        kind = rng.choice(3, p=chances)
        if kind == 2 or not written[kind]:
            continue
        answers[task] = str(rng.choice(written[kind]))
        earned += points(assignment)[task] * (kind == 0)
    return HandIn(student, assignment, filled(assignment, answers), earned)


def hand_ins(members: list[Student]) -> Iterator[HandIn]:
    """All that a class hands in."""
    for assignment in ASSIGNMENTS:
        for student in members:
            one = hand_in(student, assignment)
            if one is not None:
                yield one


def download(folder: Path, some: list[HandIn], assignment: str) -> None:
    """Write hand-ins for an assignment as the platforms give them: Moodle's in a zip."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for one in some:
            if one.assignment == assignment:
                name, text = one.student.file(assignment), nbformat.writes(one.notebook)
                if one.student.platform.startswith("moodle"):
                    archive.writestr(name, text)
                else:
                    (folder / name).write_text(text, "utf-8")
    (folder / "Moodle.zip").write_bytes(packed.getvalue())
