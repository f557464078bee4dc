"""What `pip install dpo-edu` brings: the package and its data, importable with NumPy alone."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
HOME = {"audit", "audit_log", "audit_pairs", "testing"}  # what NumPy alone must do for
BUILD = "from setuptools import build_meta as b; b.build_sdist('out'); b.build_wheel('out')"
LOOK = """
import importlib.util, sys
import dpo_edu
for name in sys.argv[1:]:
    try:
        getattr(dpo_edu, name)
        print(name)
    except ModuleNotFoundError as error:
        print(error)
"""
pytestmark = pytest.mark.slow


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the two files that the package index would get."""
    folder = tmp_path_factory.mktemp("package")
    for name in tracked("dpo_edu", "tests", "*.*", "LICENSE*"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-c", BUILD], cwd=folder, capture_output=True, check=True)
    return folder / "out"


def ours(names: list[str]) -> set[str]:
    """Files of a distribution, less the records about it."""
    return {name for name in names if "info/" not in name and not name.endswith("/")}


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    held = ours(zipfile.ZipFile(wheel).namelist())
    assert held == set(tracked("dpo_edu"))


def test_the_source_holds_the_package_and_its_papers(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as packed:
        files = [member.name for member in packed.getmembers() if member.isfile()]
    held = ours(["/".join(PurePosixPath(name).parts[1:]) for name in files])
    papers = "README.md CHANGELOG.md CITATION.cff LICENSE LICENSE-TEXT pyproject.toml MANIFEST.in"
    assert held == {*tracked("dpo_edu"), *papers.split(), "PKG-INFO", "setup.cfg"}


def bare(built: Path, folder: Path, *modules: str) -> list[str]:
    """What a Python that has the wheel and NumPy alone says of each module."""
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    home = Path(np.__file__).parent
    for part in (home, home.with_name("numpy.libs")):
        if part.exists():
            shutil.copytree(part, folder / part.name, ignore=shutil.ignore_patterns("tests"))
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{LOOK}"
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *modules],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout.splitlines()


def test_with_numpy_alone_a_module_imports_or_says_which_extra_it_needs(
    built: Path, tmp_path: Path
) -> None:
    modules = [path.stem for path in (ROOT / "dpo_edu").glob("[!_]*.py")]
    said = dict(zip(modules, bare(built, tmp_path, *modules), strict=True))
    imported = {name for name, line in said.items() if line == name}
    assert imported >= HOME
    for name in set(modules) - imported:
        assert said[name].startswith(f"dpo_edu.{name} needs ")
        assert said[name].endswith("pip install 'dpo-edu[notebooks]'")
    assert "dpo_edu.losses needs torch: pip install 'dpo-edu[notebooks]'" in said.values()


def test_a_module_that_is_not_there_is_no_matter_of_extras() -> None:
    import dpo_edu

    with pytest.raises(AttributeError, match="no module nonsense"):
        _ = dpo_edu.nonsense
