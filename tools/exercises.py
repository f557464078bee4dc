"""Generate the students' assignments from exercises/source, and run nbgrader on a course.

python -m tools.exercises                                    renew exercises/student
python -m tools.exercises --variant 17 --to exercises-17     a course of its own, other numbers
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from tools import notebooks

EXERCISES = notebooks.ROOT / "exercises"
CONFIG = "nbgrader_config.py"


def assignments(course: Path = EXERCISES) -> list[str]:
    """Names of the assignments, in order."""
    return sorted(path.name for path in (course / "source").iterdir() if path.is_dir())


def nbgrader(course: Path, *arguments: str) -> str:
    """Run an nbgrader command on the course in a folder; its messages, or an error with them."""
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    run = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        env=os.environ | {"PATH": scripts},  # it looks for alembic there
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise RuntimeError(f"nbgrader {' '.join(arguments)} failed:\n{run.stdout}{run.stderr}")
    return run.stdout + run.stderr


def copy_course(target: Path, course: Path = EXERCISES) -> None:
    """Copy what a teacher starts from: the configuration and the sources with their graders."""
    cached = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    shutil.copytree(course / "source", target / "source", ignore=cached)
    shutil.copy(course / CONFIG, target / CONFIG)


def vary(course: Path, variant: int) -> None:
    """Give every question and every check in a course's sources the numbers of a variant."""
    for path in sorted((course / "source").rglob("*.ipynb")):
        notebook = notebooks.read(path)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source = re.sub(
                    r"\b(grader\.\w+\.(?:given|check|grade))\((\w*)\)",
                    lambda call: f"{call[1]}({call[2] and call[2] + ', '}variant={variant})",
                    cell.source,
                )
        nbformat.write(notebook, path)


def write_course(target: Path, variant: int) -> None:
    """Write a course with other numbers, sources and students' version, into a new folder."""
    target.mkdir(parents=True)
    copy_course(target)
    vary(target, variant)
    generate(target / "student", target)


def generate(target: Path, course: Path = EXERCISES) -> None:
    """Write the students' version of every assignment into the folder `target`."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        copy_course(scratch, course)
        for name in assignments(scratch):
            nbgrader(scratch, "generate_assignment", name)
        replace(target, scratch / "student")


def replace(target: Path, made: Path) -> None:
    """Put a copy of a folder in the place of another, which stays until all is copied."""
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(made, new)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def scores(course: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Points and possible points by (assignment, student), from the course's gradebook."""
    from nbgrader.api import Gradebook  # an optional dependency, and slow to import

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return {
            (entry.assignment.name, entry.student.id): (entry.score, entry.max_score)
            for assignment in gradebook.assignments
            for entry in gradebook.assignment_submissions(assignment.name)
        }


def main(arguments: list[str] | None = None) -> int | str:
    """Regenerate exercises/student, or write a variant of the whole course."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", type=int, help="a whole number > 0: other numbers")
    parser.add_argument("--to", type=Path, help="the folder for the variant: a new one")
    chosen = parser.parse_args(arguments)
    number = chosen.variant
    if (number is None) != (chosen.to is None) or (number is not None and number < 1):
        return "A variant is a whole number > 0 and needs a folder: --variant 17 --to exercises-17."
    if number is None:
        generate(EXERCISES / "student")
        print(f"{len(assignments())} assignments written to exercises/student")
    elif chosen.to.exists():
        return f"{chosen.to} exists already; name a new folder."
    else:
        write_course(chosen.to, number)
        print(f"variant {number} of {len(assignments())} assignments written to {chosen.to}")
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
