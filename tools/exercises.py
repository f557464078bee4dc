"""Generate the students' assignments from exercises/source, and the courses of variants.

python -m tools.exercises                                    renew exercises/student
python -m tools.exercises --variant 17 --to exercises-17     a course of its own, other numbers
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

from tools import notebooks

EXERCISES = notebooks.ROOT / "exercises"
CONFIG = "nbgrader_config.py"


def assignments(course: Path = EXERCISES) -> list[str]:
    """Names of the assignments, in order."""
    return sorted(path.name for path in (course / "source").iterdir() if path.is_dir())


@cache  # nbgrader takes seconds to import
def nbgrader(course: Path) -> Any:
    """nbgrader in this process, as the configuration of a course says."""
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config.loader import PyFileConfigLoader

    warnings.filterwarnings("ignore", module="nbgrader")  # of its ways with a database
    scripts = Path(sys.executable).parent  # where it looks for alembic
    os.environ["PATH"] = f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    config = PyFileConfigLoader(CONFIG, path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    # Where two processes write, one waits for the other.
    config.CourseDirectory.db_url = f"sqlite:///{course / 'gradebook.db'}?timeout=60"
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def done(result: dict[str, Any]) -> None:
    """Go on if nbgrader says that a step succeeded.

    Raises
    ------
    RuntimeError
        If not, with its last line.
    """
    if not result["success"]:
        lines = result.get("error", result.get("log", "")).strip().splitlines()
        raise RuntimeError(lines[-1] if lines else "nbgrader does not say why")


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
            done(nbgrader(scratch).generate_assignment(name))
        replace(target, scratch / "student")


def replace(target: Path, made: Path) -> None:
    """Put a copy of a folder in the place of another, which stays until all is copied."""
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(made, new)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


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
