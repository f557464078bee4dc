"""Generate the students' notebooks from exercises/source, and run nbgrader on a course.

python -m tools.exercises
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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
    """Copy what a teacher starts from: the configuration and the sources."""
    shutil.copytree(course / "source", target / "source")
    shutil.copy(course / CONFIG, target / CONFIG)


def generate(target: Path, course: Path = EXERCISES) -> None:
    """Write the students' version of every assignment into the folder `target`."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        copy_course(scratch, course)
        for name in assignments(scratch):
            nbgrader(scratch, "generate_assignment", name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(scratch / "student", target)


def scores(course: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Points and possible points by (assignment, student), from the course's gradebook."""
    from nbgrader.api import Gradebook  # an optional dependency, and slow to import

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return {
            (entry.assignment.name, entry.student.id): (entry.score, entry.max_score)
            for assignment in gradebook.assignments
            for entry in gradebook.assignment_submissions(assignment.name)
        }


def main() -> int:
    """Regenerate exercises/student."""
    generate(EXERCISES / "student")
    print(f"{len(assignments())} assignments written to exercises/student")
    return 0


if __name__ == "__main__":
    sys.exit(main())
