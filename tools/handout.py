"""Pack what students need: the project as it lies here, without solutions and tests.

python -m tools.handout dpo-edu.zip
python -m tools.handout dpo-edu-17.zip --course exercises-17     with the numbers of a variant
"""

import argparse
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tools import exercises, notebooks

OURS = ("exercises/", "tests/")  # the students' version comes from the course


def packed(course: Path) -> Iterator[tuple[str, Path]]:
    """Names in the archive, and the files: what git tracks, and the assignments of the course."""
    root = notebooks.ROOT
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, encoding="utf-8", check=True
    )
    for name in listed.stdout.rstrip("\0").split("\0"):
        if not name.startswith(OURS) and (root / name).is_file():
            yield name, root / name
    for path in sorted((course / "student").rglob("*")):
        if path.is_file() and path.suffix in (".ipynb", ".py") and ".ipynb_" not in str(path):
            yield f"exercises/student/{path.relative_to(course / 'student').as_posix()}", path


def main(arguments: list[str] | None = None) -> int | str:
    """Write the archive."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("archive", type=Path, help="such as dpo-edu.zip: a new file")
    parser.add_argument("--course", type=Path, default=exercises.EXERCISES, help="its folder")
    chosen = parser.parse_args(arguments)
    if not (chosen.course / "student").is_dir():
        return f"{chosen.course} has no students' version."
    if chosen.archive.exists():
        return f"{chosen.archive} exists already; name a new file."
    with zipfile.ZipFile(chosen.archive, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in packed(chosen.course):
            archive.write(path, f"dpo-edu/{name}")
    size = chosen.archive.stat().st_size / 1e6
    print(f"{chosen.archive}: {size:.0f} MB, to be unpacked into a folder dpo-edu")
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
