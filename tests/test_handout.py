"""What students are given: everything they need, no solutions, their numbers."""

import zipfile
from pathlib import Path

import pytest
from course import ASSIGNMENTS, FIRST, STEMS

from tools import exercises, handout, notebooks


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The archive of a course that is a variant in one file."""
    folder = tmp_path_factory.mktemp("handout")
    made = folder / "course" / "student" / FIRST / f"{STEMS[FIRST]}.ipynb"
    made.parent.mkdir(parents=True)
    made.write_text("variant=17")
    kept = made.parent / ".ipynb_checkpoints" / "old.ipynb"
    kept.parent.mkdir()
    kept.write_text("mine")
    words = [str(folder / "given.zip"), "--course", str(folder / "course")]
    assert handout.main(words) == 0
    assert "exists already" in handout.main(words)
    return zipfile.ZipFile(folder / "given.zip")


def test_no_solution_and_no_test_is_given_away(archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    assert not [n for n in names if n.startswith(("dpo-edu/exercises/source", "dpo-edu/tests"))]
    assert not [n for n in names if "checkpoints" in n]
    assert all(name.startswith("dpo-edu/") for name in names) and len(names) == len(set(names))


def test_what_students_need_is_there(archive: zipfile.ZipFile) -> None:
    needed = ["README.md", "pyproject.toml", "constraints.txt", "dpo_edu/laptop.py"]
    needed += [f"notebooks/{path.name}" for path in notebooks.numbered()]
    assert {f"dpo-edu/{name}" for name in needed} <= set(archive.namelist())


def test_the_numbers_are_those_of_the_course(archive: zipfile.ZipFile) -> None:
    given = [name for name in archive.namelist() if name.startswith("dpo-edu/exercises/")]
    assert given == [f"dpo-edu/exercises/student/{FIRST}/{STEMS[FIRST]}.ipynb"]
    assert archive.read(given[0]) == b"variant=17"


def test_the_course_itself_is_given_whole() -> None:
    names = [name for name, _ in handout.packed(exercises.EXERCISES)]
    for assignment in ASSIGNMENTS:
        for file in (f"{STEMS[assignment]}.ipynb", "grader.py"):
            assert f"exercises/student/{assignment}/{file}" in names


def test_a_folder_without_a_students_version_is_refused(tmp_path: Path) -> None:
    said = handout.main([str(tmp_path / "a.zip"), "--course", str(tmp_path)])
    assert said == f"{tmp_path} has no students' version."
