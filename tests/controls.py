"""Negative controls: break one formula, run the committed check cell, see its claim fail.

A control of ``tests/controls/NN.toml`` replaces one piece of text in a `dpo_edu` module or in a
cell of notebook NN. What then runs is the check cell, after the cells whose names it needs.
"""

import ast
import contextlib
import importlib
import io
import shutil
import symtable
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
MEANS = {"symbolic": "S", "numeric": "N", "trained": "T", "data": "D"}
NO_FORMULAS = {"ledger.py", "plots.py", "_checks.py", "__init__.py"}


class BadControl(Exception):
    """The control is not one: it breaks nothing, breaks the check itself, or does not apply."""


@dataclass(frozen=True)
class Control:
    """One substitution, and the claim whose check must notice it."""

    notebook: str
    claim: str
    means: str
    check: str
    where: str
    old: str
    new: str
    why: str

    def __str__(self) -> str:
        return f"{self.notebook}-{self.claim}-{self.means}-{self.check}"


def controls(folder: Path = ROOT / "tests" / "controls") -> list[Control]:
    """Every control, notebook by notebook."""
    files = sorted(folder.glob("*.toml"))
    rows = [(f.stem, row) for f in files for row in tomllib.loads(f.read_text("utf-8"))["control"]]
    return [Control(notebook=number, **row) for number, row in rows]


@cache
def cells(notebook: str, folder: Path = ROOT / "notebooks") -> dict[str, str]:
    """The code cells of notebook NN: slug to source, in order."""
    (path,) = folder.glob(f"{notebook}_*.ipynb")
    code = (c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    return {cell.id: cell.source for cell in code}


# --- which cells a check cell needs -------------------------------------------------------------


@dataclass(frozen=True)
class Names:
    """What a cell surely binds, may change, uses at once, and uses in functions called later."""

    binds: frozenset[str]
    changes: frozenset[str]
    uses: frozenset[str]
    later: frozenset[str]


def loads(table: symtable.SymbolTable) -> set[str]:
    """The global names that a piece of code reads, its functions included."""
    own = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global())
    }
    return own.union(*map(loads, table.get_children()))


def root(node: ast.AST) -> str:
    """The variable at the bottom of ``a.b[i].c(...)``, or an empty text."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def changed(statement: ast.stmt) -> set[str]:
    """Variables whose items or attributes are set, or whose methods are called for their effect."""
    found = set()
    for node in ast.walk(statement):
        match node:
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                found.add(root(node))
            case ast.AugAssign(target=target):
                found.add(root(target))
            case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
                found.add(root(method))
    return found - {""}


class Lazily(ast.NodeTransformer):
    """Comprehensions as generators: from Python 3.12 on only those keep their variables apart."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.AST:
        return self.generic_visit(ast.GeneratorExp(node.elt, node.generators))

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        pair = ast.Tuple([node.key, node.value], ast.Load())
        return self.generic_visit(ast.GeneratorExp(pair, node.generators))


@cache
def names(source: str) -> Names:
    """Read a cell statement by statement; loops and branches change names but surely bind none."""
    binds: set[str] = set()
    changes: set[str] = set()
    uses: set[str] = set()
    later: set[str] = set()
    plain = (ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    for statement in Lazily().visit(ast.parse(source)).body:
        table = symtable.symtable(ast.unparse(statement), "cell", "exec")
        symbols = table.get_symbols()
        bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
        uses |= (loads(table) | changed(statement)) - binds
        later = later.union(*map(loads, table.get_children()))
        binds |= bound if isinstance(statement, plain) else set()
        changes |= changed(statement) | bound
    return Names(*map(frozenset, (binds, changes, uses, later)))


def needed_cells(sources: dict[str, str], check: str) -> list[str]:
    """The imports cell, every cell the check cell depends on by names, and the check cell."""
    slugs = list(sources)
    before = slugs[: slugs.index(check)]
    fixed = names(sources[slugs[0]]).binds  # modules, and the ledger: calls change no formula
    later: set[str] = set(names(sources[check]).later)
    while True:
        wanted, chosen, called = names(sources[check]).uses | later, [check], set(later)
        for slug in reversed(before):
            cell = names(sources[slug])
            if slug == slugs[0] or (cell.binds | (cell.changes - fixed)) & wanted:
                chosen.append(slug)
                wanted = (wanted - cell.binds) | cell.uses
                called |= cell.later
        if called == later:
            return chosen[::-1]
        later = called


# --- running them -------------------------------------------------------------------------------


@contextlib.contextmanager
def fresh_package(where: str = "", old: str = "", new: str = "") -> Iterator[None]:
    """Import `dpo_edu` from a copy with one substitution; afterwards everything is as before."""
    import matplotlib.pyplot as plt
    import torch

    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if is_ours(name)}
    style, dtype = dict(plt.rcParams), torch.get_default_dtype()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "dpo_edu")
        ignored = shutil.ignore_patterns(f"{Path(where or '-').stem}.*.pyc")
        shutil.copytree(ROOT / "dpo_edu", copy, ignore=ignored)
        if where:
            source = (copy / where).read_text("utf-8")
            (copy / where).write_text(source.replace(old, new), "utf-8")
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(folder)
            for name in [name for name in sys.modules if is_ours(name)]:
                del sys.modules[name]
            sys.modules.update(kept)
            plt.close("all")
            plt.rcParams.update(style)
            torch.set_default_dtype(dtype)


def is_ours(module: str) -> bool:
    """Whether a module belongs to the package under test."""
    return module == "dpo_edu" or module.startswith("dpo_edu.")


def run_cells(sources: dict[str, str], slugs: list[str]) -> tuple[str, Exception] | None:
    """Run the cells in one namespace, quietly; the slug and the exception where one raises."""
    namespace = {"__name__": "__main__", "display": lambda *_, **__: None}
    for slug in slugs:
        try:
            code = compile(sources[slug], f"<cell {slug}>", "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, namespace)
        except Exception as error:
            return slug, error
    return None


def baseline(notebook: str, check: str, sources: dict[str, str] | None = None) -> None:
    """Without a substitution the check passes (or its controls would prove nothing)."""
    sources = sources or cells(notebook)
    with fresh_package():
        failure = run_cells(sources, needed_cells(sources, check))
    if failure:
        raise BadControl(f"without substitution, cell {failure[0]} raises {failure[1]!r}")


def violate(control: Control, sources: dict[str, str] | None = None) -> None:
    """Apply the control and run its check; `BadControl` unless exactly that claim fails there."""
    sources = dict(sources or cells(control.notebook))
    if control.check not in sources:
        raise BadControl(f"no cell {control.check}")
    slugs = needed_cells(sources, control.check)
    in_module = control.where.endswith(".py")
    if in_module:
        refuse_module(control)
    else:
        refuse_cell(control, sources, slugs)
        sources[control.where] = sources[control.where].replace(control.old, control.new)
    change = (control.where, control.old, control.new) if in_module else ()
    with fresh_package(*change):
        failure = run_cells(sources, slugs)
    if failure is None:
        raise BadControl("the check still passes")
    slug, error = failure
    if slug != control.check or type(error).__name__ != "ClaimFailed":
        raise BadControl(f"cell {slug} raises {error!r}, not the claim's failure in the check cell")
    means = failing_means(sources[slug], error)
    if error.claim != control.claim or means not in (control.means, None):
        raise BadControl(f"what fails first is {error.claim} by {means}")


def failing_means(source: str, error: Exception) -> str | None:
    """By which means the failing ledger call judges; None where the source does not say."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next(f.lineno for f in reversed(frames) if f.filename.startswith("<cell "))
    for call in ledger_calls(source):
        if call.lineno <= line <= call.end_lineno:
            if call.func.attr in MEANS:
                return MEANS[call.func.attr]
            named = [k.value for k in call.keywords if k.arg == "means"]
            given = (call.args[1:2] + named)[0]
            return given.value if isinstance(given, ast.Constant) else None
    return None


# --- what may be substituted --------------------------------------------------------------------


def ledger_calls(source: str) -> list[ast.Call]:
    """Every call of a ledger method in a cell."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [c for c in calls if isinstance(c.func, ast.Attribute) and root(c.func) == "ledger"]


def expected_names(source: str) -> set[str]:
    """Names standing alone as an expected value (or a printed formula's truth) in a ledger call."""
    values = []
    for call in ledger_calls(source):
        place = 3 if call.func.attr == "counterexample" else 2
        values += call.args[place : place + 1]
        values += [k.value for k in call.keywords if k.arg in ("expected", "truth")]
    return {value.id for value in values if isinstance(value, ast.Name)}


def refuse_module(control: Control) -> None:
    """A module control names a module with formulas, and its text occurs there exactly once."""
    path = ROOT / "dpo_edu" / control.where
    if control.where in NO_FORMULAS or not path.is_file():
        raise BadControl(f"{control.where} is no module with formulas")
    if (times := path.read_text("utf-8").count(control.old)) != 1:
        raise BadControl(f"the text occurs {times} times in {control.where}")


def refuse_cell(control: Control, sources: dict[str, str], slugs: list[str]) -> None:
    """A cell control changes a formula the check needs, never the check or its expected value."""
    if control.where not in slugs:
        raise BadControl(f"the check does not need the cell {control.where}")
    source = sources[control.where]
    if (times := source.count(control.old)) != 1:
        raise BadControl(f"the text occurs {times} times in {control.where}")
    first = source[: source.index(control.old)].count("\n") + 1
    last = first + control.old.count("\n")
    expected = expected_names(sources[control.check])
    for statement in ast.parse(source).body:
        if not (statement.lineno <= last and first <= statement.end_lineno):
            continue
        text = ast.unparse(statement)
        if ledger_calls(text):
            raise BadControl("the text lies in a call of the ledger")
        if control.where == control.check and names(text).binds & expected:
            raise BadControl("the text lies in the expected value")
