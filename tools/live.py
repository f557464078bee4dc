"""What the site needs to derive in the reader's browser: cells, the package's symbolic part, SymPy.

python -m tools.live

There Python is Pyodide's core, with SymPy and mpmath and without NumPy. So of each notebook those
statements are kept that need no more, in cells that show a symbolic result or a symbolic check, or
that bind a name which such a cell reads. Which ones these are is read from the code, not from a
list. `collect` writes all of it into a folder, with the modules of ``site/live``; what comes from
package registries goes through ``build/npm`` and ``build/wheels``.
"""

import ast
import builtins
import json
import symtable
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from nbformat import NotebookNode

from dpo_edu.ledger import MEANS, counted
from tools import notebooks, npm

SOURCE = notebooks.ROOT / "site" / "live"
WORKER = SOURCE / "offline.js"
PACKAGE = notebooks.ROOT / "dpo_edu"
PYODIDE = "314.0.7"
FETCHED = ("pyodide-lock.json", "pyodide.asm.wasm", "python_stdlib.zip")  # the page counts bytes
CORE = ("pyodide.mjs", "pyodide.asm.mjs", *FETCHED)
WHEELS = ("mpmath", "sympy")  # in the versions of constraints.txt
LEDGER = ("_typeset", "ledger", "symbolic")  # what a symbolic check needs of the package
IN_NUMBERS = {"numeric", "trained", "data", "watch", "headline"}  # methods of the ledger
EITHER = {"true", "counterexample", "refuted"}  # by the means that they name


@dataclass(frozen=True)
class Cell:
    """A cell that derives without NumPy.

    Attributes
    ----------
    source : the cell as the notebook has it, by which a page finds it.
    code : the statements of it that run without NumPy.
    left_out : how many statements do not.
    checks : how many statements make a symbolic check.
    shows : whether it makes one or shows a symbolic result.
    committed : what its outputs say as plain text, in their order.
    """

    id: str
    tags: list[str]
    source: str
    code: str
    left_out: int
    checks: int
    shows: bool
    committed: list[str]


# --- which statements need no NumPy -------------------------------------------------------------


def names(source: str) -> tuple[set[str], set[str]]:
    """The global names that code needs from before, and those that it binds or changes.

    What a function reads it is taken to need where it is defined.

    >>> names("a[k] = sum(b * i for i in c)") == ({"a", "k", "sum", "b", "c"}, {"a"})
    True
    >>> names("b = 1; b + a") == ({"a"}, {"b"})
    True
    """
    needed: set[str] = set()
    every: set[str] = set()
    for node in ast.parse(source).body:
        read, bound = _globals(symtable.symtable(ast.unparse(node), "cell", "exec"))
        changed = _changed(node)
        simple = isinstance(node, (ast.Assign, ast.AnnAssign))  # what it binds is bound at its end
        needed |= (read | changed) - every - (set() if simple else bound - changed)
        every |= bound | changed
    return needed, every


def _globals(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """The global names that a statement reads, inside functions too, and those that it binds."""
    symbols = table.get_symbols()
    read = {symbol.get_name() for symbol in symbols if symbol.is_referenced()}
    bound = {x.get_name() for x in symbols if x.is_assigned() or x.is_imported()}
    parts = table.get_children()
    while parts:
        part = parts.pop()
        read |= {symbol.get_name() for symbol in part.get_symbols() if symbol.is_global()}
        parts += part.get_children()
    return read, bound


def _changed(node: ast.AST) -> set[str]:
    """The global names of what a statement assigns a part of, or adds to: ``a[k] = 1; b += 1``."""
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        return set()
    found = {name for child in ast.iter_child_nodes(node) for name in _changed(child)}
    if isinstance(node, ast.AugAssign):
        found |= {x.id for x in ast.walk(node.target) if isinstance(x, ast.Name)}
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
        found |= {x.id for x in ast.walk(node.value) if isinstance(x, ast.Name)}
    return found


def _full(module: str, name: str) -> str:
    return f"dpo_edu.{name}" if module == "dpo_edu" else module


def _has(module: str) -> bool:
    """Whether the reader's browser has a module."""
    first, _, rest = module.partition(".")
    return rest in LEDGER if first == "dpo_edu" else first in {*WHEELS, *sys.stdlib_module_names}


def _kept_import(node: ast.Import | ast.ImportFrom) -> str:
    """What of an import can be done in the browser, as source; empty if nothing can."""
    origin = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    kept = [
        alias for alias in node.names if _has(_full(origin, alias.name) if origin else alias.name)
    ]
    if len(kept) == len(node.names):
        return ast.unparse(node)
    fewer = ast.ImportFrom(origin, kept, 0) if origin else ast.Import(kept)
    return ast.unparse(fewer) if kept else ""


def _ledger_calls(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The method, and the means it names if it does, of each call of the ledger."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            owner = call.func.value
            if isinstance(owner, ast.Name) and owner.id == "ledger":
                second = call.args[1] if len(call.args) > 1 else None
                means = second.value if isinstance(second, ast.Constant) else ""
                yield call.func.attr, means if means in MEANS else ""


def _in_numbers(node: ast.AST) -> bool:
    """Whether a statement asks the ledger for what needs NumPy, or for a sum of all evidence."""
    return any(
        method in IN_NUMBERS or method == "summary" or (method in EITHER and means != "S")
        for method, means in _ledger_calls(node)
    )


def _checks(node: ast.AST) -> bool:
    """Whether a statement makes a symbolic check."""
    return any(
        method == "symbolic" or (method in EITHER and means == "S")
        for method, means in _ledger_calls(node)
    )


def kept(source: str, known: set[str]) -> list[tuple[ast.stmt, str]]:
    """The statements of a cell that run in the browser, each with its source.

    `known` are the names that the browser has before the cell; afterwards, those after it.
    """
    found = []
    for node in ast.parse(source).body:
        text = _kept_text(node, source, known)
        known -= names(ast.unparse(node))[1]
        if text:
            known |= names(text)[1]
            found.append((node, text))
    return found


def _kept_text(node: ast.stmt, source: str, known: set[str]) -> str:
    """The source of a statement as the browser gets it; empty if it must be left out."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return _kept_import(node)
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    text = "\n".join(source.splitlines()[first - 1 : node.end_lineno])
    return "" if _in_numbers(node) or names(text)[0] - known else text


# --- which cells derive -------------------------------------------------------------------------


def derivation(notebook: NotebookNode) -> list[Cell]:
    """The cells of a notebook that derive without NumPy; none if there is no symbolic check."""
    known = set(dir(builtins))
    every = [c for cell in notebook.cells if cell.cell_type == "code" for c in _cell(cell, known)]
    wanted: set[str] = set()
    chosen = []
    for cell in reversed(every):
        needed, bound = names(cell.code)
        if cell.shows or bound & wanted:
            wanted = wanted - bound | needed
            chosen.append(cell)
    return chosen[::-1] if any(cell.checks for cell in chosen) else []


def _cell(cell: NotebookNode, known: set[str]) -> Iterator[Cell]:
    """What of a cell runs in the browser, if anything does."""
    statements = ast.parse(cell.source).body
    if found := kept(cell.source, known):
        checks = sum(_checks(node) for node, _ in found)
        latex = any("text/latex" in output.get("data", {}) for output in cell.outputs)
        code = "\n".join(text for _, text in found)
        whole = ast.dump(ast.parse(code)) == ast.dump(ast.parse(cell.source))
        yield Cell(
            id=cell.id,
            tags=list(cell.metadata.get("tags", [])),
            source=cell.source,
            code=cell.source if whole else code,
            left_out=len(statements) - len(found),
            checks=checks,
            shows=checks > 0 or (latex and found[-1][0].lineno == statements[-1].lineno),
            committed=[text for output in cell.outputs if (text := _plain(output))],
        )


def _plain(output: NotebookNode) -> str:
    """What an output says as plain text."""
    return str(output.get("text") or output.get("data", {}).get("text/plain", "")).rstrip("\n")


# --- what the page loads ------------------------------------------------------------------------


def pages() -> dict[str, list[Cell]]:
    """The notebooks that derive in the browser, by the names of their files, with their cells."""
    read = {path.stem: derivation(notebooks.read(path)) for path in notebooks.numbered()}
    return {stem: cells for stem, cells in read.items() if cells}


def collect(folder: Path) -> None:
    """Write into a folder all that ``live.js`` needs, which a page includes from there.

    But for its service worker, which belongs at the root of the site: it answers for what is below.

    Raises
    ------
    npm.Unavailable
        If Pyodide or a wheel cannot be fetched; the message says why.
    """
    core = npm.packed("pyodide", PYODIDE)
    wheels = fetched_wheels()
    copied = {f"pyodide/{name}": core / name for name in CORE}
    copied |= {f"wheels/{path.name}": path for path in wheels}
    own = [path for path in sorted(SOURCE.iterdir()) if path.is_file() and path != WORKER]
    copied |= {path.name: path for path in own}
    package = [f"{module}.py" for module in ("__init__", *LEDGER)] + ["claims.toml"]
    copied |= {f"dpo_edu/{name}": PACKAGE / name for name in package}
    for name, path in copied.items():
        notebooks.save(folder / name, path.read_bytes())
    loads = {
        "wheels": [f"wheels/{path.name}" for path in wheels],
        "modules": ["session.py", *(f"dpo_edu/{name}" for name in package)],
    }
    fetched = [f"pyodide/{name}" for name in FETCHED] + loads["wheels"] + loads["modules"]
    size = sum(copied[name].stat().st_size for name in fetched)
    for stem, cells in pages().items():
        page = loads | {"bytes": size, "parts": parts(), "cells": [asdict(x) for x in cells]}
        notebooks.save(folder / "cells" / f"{stem}.json", json.dumps(page, ensure_ascii=False))


def parts() -> str:
    """What runs in the browser and under which licences, for the page."""
    versions = pinned()
    return (
        f"Pyodide {PYODIDE} (MPL-2.0), SymPy {versions['sympy']} and mpmath {versions['mpmath']}"
        " (BSD). Nothing that you write leaves your browser."
    )


def pinned() -> dict[str, str]:
    """The versions of the wheels in constraints.txt."""
    lines = (notebooks.ROOT / "constraints.txt").read_text("utf-8").splitlines()
    starts = tuple(f"{name}==" for name in WHEELS)
    return dict(line.split("==") for line in lines if line.startswith(starts))


def fetched_wheels() -> list[Path]:
    """The wheels of SymPy and mpmath in build/wheels, where pip puts them the first time."""
    folder = notebooks.BUILD / "wheels"
    every = [folder / f"{name}-{version}-py3-none-any.whl" for name, version in pinned().items()]
    if not all(path.exists() for path in every):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        command += ["--only-binary", ":all:", "-c", "constraints.txt", *WHEELS]
        npm.carried_out(command, "the wheels of SymPy and mpmath")
    return every


def main() -> int | str:
    """Collect everything in build/live and say how much there is."""
    folder = notebooks.BUILD / "live"
    try:
        collect(folder)
    except npm.Unavailable as error:
        return str(error)
    found = pages()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    checks = sum(cell.checks for cells in found.values() for cell in cells)
    print(
        f"{counted(len(found), 'page')} derive in the browser, {counted(checks, 'check')};"
        f" {size / 1e6:.1f} MB in build/live"
    )
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
