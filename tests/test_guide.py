"""The commands of docs/teaching.md for hand-ins, one after the other in a copy of the project."""

import csv
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from classroom import filled, known, points
from course import STEMS
from test_package import tracked

from tools import notebooks, slides

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]
GUIDE = slides.PLAN.read_text("utf-8").partition("## Hand it out")[2].partition("## Playground")[0]
ASSIGNMENT = "5_train_it"


def commands(text: str) -> list[str]:
    """The commands of a text's blocks that are ours, in their order."""
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m tools.")]


def handed_in(folder: Path, *names: str) -> None:
    """Solved notebooks in a zip as Moodle gives it."""
    right = {task: codes[0] for task, (codes, _) in known(ASSIGNMENT).items()}
    text = nbformat.writes(filled(ASSIGNMENT, right))
    with zipfile.ZipFile(folder, "w") as archive:
        for number, name in enumerate(names):
            path = f"{name}_{number}_assignsubmission_file_/{STEMS[ASSIGNMENT]}.ipynb"
            archive.writestr(path, text)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the project after all commands, and what each printed."""
    root = tmp_path_factory.mktemp("a project")
    for name in tracked("."):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((notebooks.ROOT / name).read_bytes())
    subprocess.run("git init -q && git add -A", shell=True, cwd=root, check=True)
    handed_in(root / "Moodle.zip", "Ada Ünal", "Bob B")
    handed_in(root / "Moodle-17.zip", "Eve E")
    for name in ("ada", "bob"):
        nbformat.write(filled(ASSIGNMENT, {}), root / f"{name}.ipynb")
    said = {}
    for command in commands(GUIDE):
        words = [sys.executable, *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        said[command] = done.stdout
    return root, said


@pytest.mark.classroom
def test_every_tool_of_the_guide_is_tried(project: tuple[Path, dict[str, str]]) -> None:
    tools = {command.split()[2] for command in project[1]}
    assert tools == {f"tools.{x}" for x in ("handout", "judge", "collect", "grade", "exercises")}


@pytest.mark.classroom
def test_the_commands_of_the_guide_do_what_it_says(project: tuple[Path, dict[str, str]]) -> None:
    root, said = project
    possible = sum(points(ASSIGNMENT).values())
    assert (
        f"ada.ipynb: 0 of {possible:g}"
        in said["python -m tools.judge 5_train_it ada.ipynb bob.ipynb"]
    )
    with (root / "exercises" / "grades.csv").open(encoding="utf-8-sig") as file:
        assert [row["student"] for row in csv.DictReader(file)] == ["ada-ünal", "bob-b"]
    with (root / "all.csv").open(encoding="utf-8-sig") as file:
        found = {row["student"]: row for row in csv.DictReader(file)}
    assert {s: row["course"] for s, row in found.items()} == {
        "ada-ünal": "exercises",
        "bob-b": "exercises",
        "eve-e": "exercises-17",
    }
    assert float(found["ada-ünal"]["points"]) == possible > float(found["eve-e"]["points"]) > 0
    collected = said["python -m tools.collect 5_train_it Moodle-17.zip --course exercises-17"]
    assert "written for variant 0 and not 17" in collected
    page = root / "exercises" / "feedback" / "ada-ünal" / ASSIGNMENT / f"{STEMS[ASSIGNMENT]}.html"
    assert "train: right." in page.read_text("utf-8")
    for name, variant in (("dpo-edu", False), ("dpo-edu-17", True)):
        path = f"dpo-edu/exercises/student/{ASSIGNMENT}/{STEMS[ASSIGNMENT]}.ipynb"
        text = zipfile.ZipFile(root / f"{name}.zip").read(path).decode()
        assert ("variant=17" in text) is variant


@pytest.mark.classroom
def test_git_sees_nothing_of_what_they_write(project: tuple[Path, dict[str, str]]) -> None:
    listed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project[0], capture_output=True, text=True
    )
    strange = [line for line in listed.stdout.splitlines() if line.startswith("??")]
    given = ("Moodle", "ada", "bob", "dpo-edu", "all.csv")
    assert [line for line in strange if not line[3:].startswith(given)] == []
    assert [line for line in listed.stdout.splitlines() if line[1] == "M"] == []


def test_a_command_is_found_in_its_block() -> None:
    assert commands("```\npython -m tools.x a\nother\n```\n`python -m tools.y`") == [
        "python -m tools.x a"
    ]
