"""Copies of notebooks for places that run them without an installation: JupyterLite and Colab.

python -m tools.hosted lite
python -m tools.hosted colab ADDRESS-OF-THE-REPOSITORY

JupyterLite runs in the reader's browser, where there is no PyTorch: it gets the lectures and
assignments that need none, each folder with the package beside them. Colab has PyTorch: there a
first cell installs the package. Written to build/lite and build/colab; two workflows publish them.
Neither has been run: NumPy's build for browsers and Colab's machines are out of reach of the tests.
"""

import argparse
import ast
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from dpo_edu.ledger import counted
from tools import exercises, live, notebooks

LITE, COLAB = notebooks.BUILD / "lite", notebooks.BUILD / "colab"
ABSENT = {"torch", "choix", "transformers", "peft", "trl", "datasets"}  # from Pyodide
IN_LITE = "%pip install -q mpmath=={mpmath} ipywidgets cvxpy-base"
IN_COLAB = '%pip install -q "dpo-edu[notebooks] @ git+{repository}"'
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
OPEN = "https://colab.research.google.com/github/{name}/blob/colab/{file}"


# --- what needs what ----------------------------------------------------------------------------


def imported(source: str) -> set[str]:
    """All that code imports, wherever in it, modules of dpo_edu by their full names.

    >>> imported("import a.b\\ndef f():\\n    from dpo_edu import gibbs") == {"a", "dpo_edu.gibbs"}
    True
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "dpo_edu":
            names = [f"dpo_edu.{alias.name}" for alias in node.names]
        else:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {name if name.startswith("dpo_edu.") else name.partition(".")[0] for name in names}
    return found


@cache
def behind(module: str) -> frozenset[str]:
    """All that a module of dpo_edu imports, directly or not."""
    return _with_what_is_behind((live.PACKAGE / f"{module}.py").read_text("utf-8"))


def _with_what_is_behind(source: str) -> frozenset[str]:
    found = imported(source)
    for name in sorted(found):
        package, _, module = name.partition(".")
        if package == "dpo_edu" and module:
            found |= behind(module)
    return frozenset(found)


def requirements(path: Path) -> frozenset[str]:
    """All that a notebook imports, directly or through the package or the grader beside it."""
    code = [cell.source for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    found = frozenset[str]().union(*map(_with_what_is_behind, code))
    grader = path.with_name("grader.py")
    return found | _with_what_is_behind(grader.read_text("utf-8")) if grader.exists() else found


def without_torch() -> Iterator[Path]:
    """The lectures and assignments that need nothing that a browser lacks."""
    handed_out = sorted(exercises.EXERCISES.glob("student/*/*.ipynb"))
    for path in [*notebooks.numbered(), *handed_out]:
        if not requirements(path) & ABSENT:
            yield path


# --- the copies ---------------------------------------------------------------------------------


def beginning_with(path: Path, code: str) -> NotebookNode:
    """A notebook with a first cell that installs what it needs."""
    copy = notebooks.read(path)
    copy.cells.insert(0, new_code_cell(code, id="install"))  # type: ignore[no-untyped-call]
    return copy


def lite(folder: Path) -> list[Path]:
    """Write what JupyterLite shows: the notebooks that run in it, the package beside each."""
    written, first = [], IN_LITE.format(**live.pinned())
    for path in without_torch():
        place = folder / path.parent.relative_to(notebooks.ROOT)
        notebooks.write(beginning_with(path, first), place / path.name)
        written.append(place / path.name)
        for beside in (path.with_name("grader.py"), path.with_name("matplotlibrc")):
            if beside.exists():
                shutil.copy(beside, place)
        modules = shutil.ignore_patterns("__pycache__")
        shutil.copytree(live.PACKAGE, place / "dpo_edu", ignore=modules, dirs_exist_ok=True)
    return written


def colab(folder: Path, repository: str) -> list[Path]:
    """Write what Colab opens, and a page with a badge for each notebook."""
    name = "/".join(repository.rstrip("/").split("/")[-2:])
    written, rows = [], ["# Open in Colab", "", "Not yet run there.", ""]
    for path in notebooks.numbered():
        if notebooks.is_apart(path):
            continue
        first = IN_COLAB.format(repository=repository)
        notebooks.write(beginning_with(path, first), folder / path.name)
        written.append(folder / path.name)
        title = notebooks.read(path).cells[0].source.splitlines()[0].lstrip("# ")
        rows.append(
            f"- [![{title}, in Colab]({BADGE})]({OPEN.format(name=name, file=path.name)}) {title}"
        )
    notebooks.save(folder / "README.md", "\n".join([*rows, ""]))
    return written


def main(arguments: list[str] | None = None) -> int:
    """Write the copies for one of the places."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    places = parser.add_subparsers(required=True, dest="place")
    places.add_parser("lite")
    places.add_parser("colab").add_argument("repository", help="its address, as git clones it")
    chosen = parser.parse_args(arguments)
    folder = LITE if chosen.place == "lite" else COLAB
    shutil.rmtree(folder, ignore_errors=True)
    written = lite(folder) if chosen.place == "lite" else colab(folder, chosen.repository)
    print(f"{counted(len(written), 'notebook')} written to {folder.relative_to(notebooks.ROOT)}")
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
