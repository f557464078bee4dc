"""Negative controls: break one formula, run the committed check cell, see its evidence lines fail.

A fault replaces one piece of text: in a `dpo_edu` module (``tests/controls/faults.toml``) or in a
cell of a notebook (the file with its slug there). A control of such a file names a fault, a check
cell, and the lines of its evidence, counted from 1, that must fail. The check cell runs after the
cells whose names it needs, and all of its lines are judged.

``python -m tests.falsify 07`` reports what each control of notebook 07 fells, and which lines no
control fells; with ``--renew`` it writes the lines down, with ``--every-fault`` it tries all faults
on the check cells that still have such lines. ``--all-faults`` tries each fault on every check cell
that uses the broken module or cell, and says which of them notice.
"""

import argparse
import ast
import contextlib
import importlib
import io
import json
import re
import shutil
import symtable
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from unittest import mock

from tools import mutants, notebooks

ROOT = notebooks.ROOT
FOLDER = ROOT / "tests" / "controls"
METHODS = {"symbolic": "S", "numeric": "N", "trained": "T", "data": "D"}
METHODS |= dict.fromkeys(("true", "counterexample", "refuted"), "")  # these are told their means
NO_FORMULAS = {"ledger.py", "plots.py", "_checks.py", "_compare.py", "__init__.py"}


class BadControl(Exception):
    """The control is not one: it breaks nothing, breaks the check itself, or does not apply."""


@dataclass(frozen=True)
class Fault:
    """One substitution of text, and the mistake that it stands for."""

    where: str
    old: str
    new: str
    why: str

    @property
    def in_module(self) -> bool:
        """Whether it breaks a module of `dpo_edu`, not a cell."""
        return self.where.endswith(".py")


@dataclass(frozen=True)
class Control:
    """A fault, a check cell, and the evidence lines of that cell which must notice."""

    notebook: str
    fault: str
    check: str
    lines: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.notebook}-{self.check}-{self.fault}"


@dataclass(frozen=True)
class Line:
    """One call of the ledger: for which claim, by which means, and whether it came out."""

    claim: str
    means: str
    holds: bool


@cache
def read(name: str) -> dict:
    """One of the TOML files; an absent one is empty."""
    path = FOLDER / f"{name}.toml"
    return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}


def faults(notebook: str) -> dict[str, Fault]:
    """The faults of the modules and those of a notebook's cells, by name."""
    rows = read("faults").get("fault", {}) | read(notebook).get("fault", {})
    return {name: Fault(**row) for name, row in rows.items()}


def controls() -> list[Control]:
    """Every control, notebook by notebook."""
    rows = [(slug, row) for slug in slugs() for row in read(slug).get("control", [])]
    return [Control(notebook=slug, **row | {"lines": (*row["lines"],)}) for slug, row in rows]


def slugs() -> list[str]:
    """The notebooks that are executed here, in their order, by the names of their controls."""
    return [notebooks.slug(path) for path in notebooks.numbered() if not notebooks.is_apart(path)]


def one_each(every: list[Control]) -> list[Control]:
    """For each check the control that fells most of its lines: what the gate runs."""
    best: dict[tuple[str, str], Control] = {}
    for control in every:
        place = (control.notebook, control.check)
        if place not in best or len(control.lines) > len(best[place].lines):
            best[place] = control
    return list(best.values())


@cache
def cells(notebook: str) -> dict[str, str]:
    """The code cells of a notebook: id to source, in order."""
    (path,) = notebooks.numbered(notebook)
    code = (c for c in notebooks.read(path).cells if c.cell_type == "code")
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
    """Import `dpo_edu`, from a copy if a module is broken; afterwards everything is as before."""
    import matplotlib.pyplot as plt
    import torch

    style, dtype = dict(plt.rcParams), torch.get_default_dtype()
    try:
        with broken_copy(where, old, new) if where else contextlib.nullcontext():
            yield
    finally:
        plt.close("all")
        plt.rcParams.update(style)
        torch.set_default_dtype(dtype)


@contextlib.contextmanager
def broken_copy(where: str, old: str, new: str) -> Iterator[None]:
    """Let `dpo_edu` be a copy with one substitution."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if is_ours(name)}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "dpo_edu")
        ignored = shutil.ignore_patterns(f"{Path(where).stem}.*.pyc")
        shutil.copytree(ROOT / "dpo_edu", copy, ignore=ignored)
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


def is_ours(module: str) -> bool:
    """Whether a module belongs to the package under test."""
    return module == "dpo_edu" or module.startswith("dpo_edu.")


@contextlib.contextmanager
def judging() -> Iterator[list[Line]]:
    """Let every call of the ledger be judged: a failing one is noted and does not raise."""
    ledger = importlib.import_module("dpo_edu.ledger")
    lines: list[Line] = []

    def noted(method: str):
        judge = getattr(ledger.Ledger, method)

        @wraps(judge)
        def call(self, claim, *given, **named):
            means = METHODS[method] or (given[0] if given else named["means"])
            try:
                judge(self, claim, *given, **named)
            except ledger.ClaimFailed:
                lines.append(Line(claim, means, False))
            else:
                lines.append(Line(claim, means, True))

        return call

    with contextlib.ExitStack() as patches:
        for method in METHODS:
            patches.enter_context(mock.patch.object(ledger.Ledger, method, noted(method)))
        patches.enter_context(mock.patch.object(ledger, "display"))
        yield lines


def run_cells(sources: dict[str, str], slugs: list[str]) -> dict[str, list[Line]]:
    """Run the cells in one namespace, quietly; the evidence lines of each."""
    namespace = {"__name__": "__main__", "display": lambda *_, **__: None}
    found = {}
    with judging() as lines:
        for slug in slugs:
            try:
                code = compile(sources[slug], f"<cell {slug}>", "exec")
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(code, namespace)
            except Exception as error:
                raise BadControl(f"cell {slug} raises {error!r}") from error
            found[slug] = lines.copy()
            lines.clear()
    return found


def baseline(
    notebook: str, checks: list[str], sources: dict[str, str] | None = None
) -> dict[str, list[Line]]:
    """The evidence lines of check cells run together, which all hold without a substitution."""
    sources = sources or cells(notebook)
    needed = {slug for check in checks for slug in needed_cells(sources, check)}
    with fresh_package():
        found = run_cells(sources, [slug for slug in sources if slug in needed])
    for check in checks:
        if not all(line.holds for line in found[check]):
            raise BadControl(f"without substitution, {found[check]} do not all hold")
    return {check: found[check] for check in checks}


def felled(check: str, fault: Fault, sources: dict[str, str]) -> list[int]:
    """The evidence lines of a check cell, counted from 1, that fail under a fault."""
    if check not in sources:
        raise BadControl(f"no cell {check}")
    slugs = needed_cells(sources, check)
    change = ()
    if fault.in_module:
        refuse_module(fault)
        change = (fault.where, fault.old, fault.new)
    else:
        refuse_cell(fault, check, sources, slugs)
        broken = sources[fault.where].replace(fault.old, fault.new)
        sources = sources | {fault.where: broken}
    with fresh_package(*change):
        lines = run_cells(sources, slugs)[check]
    return [place for place, line in enumerate(lines, 1) if not line.holds]


def violate(control: Control, fault: Fault, sources: dict[str, str] | None = None) -> list[int]:
    """Apply the control; `BadControl` unless all its lines fail. The other lines that fail, too."""
    found = felled(control.check, fault, dict(sources or cells(control.notebook)))
    if not control.lines:
        raise BadControl(f"no line is said to fail; {found} do")
    if still := sorted(set(control.lines) - set(found)):
        raise BadControl(f"lines {still} still hold; {found} fail")
    return sorted(set(found) - set(control.lines))


def evidence_lines(notebook: str) -> dict[str, list[tuple[str, str]]]:
    """Claim and means of every evidence line that a notebook committed, cell by cell."""
    from dpo_edu import ledger

    (path,) = notebooks.numbered(notebook)
    found = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if entries := ledger.evidence_in({"cells": [cell]}):
            found[cell["id"]] = [(e.claim, e.means) for e in entries]
    return found


def uncovered(notebook: str) -> dict[str, list[int]]:
    """The evidence lines, cell by cell, that no control fells."""
    covered = {(c.check, line) for c in controls() if c.notebook == notebook for line in c.lines}
    open_lines = {
        check: [n for n in range(1, len(lines) + 1) if (check, n) not in covered]
        for check, lines in evidence_lines(notebook).items()
    }
    return {check: lines for check, lines in open_lines.items() if lines}


# --- what may be substituted --------------------------------------------------------------------


def ledger_calls(source: str) -> list[ast.Call]:
    """Every call of a ledger method in a cell."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [c for c in calls if isinstance(c.func, ast.Attribute) and root(c.func) == "ledger"]


def expected_names(source: str) -> set[str]:
    """Names standing alone as an expected value (or a printed formula's truth) in a ledger call."""
    values = []
    for call in ledger_calls(source):
        place = {"counterexample": 3, "true": 4}.get(call.func.attr, 2)
        values += call.args[place : place + 1]
        values += [k.value for k in call.keywords if k.arg in ("expected", "truth", "right")]
    return {value.id for value in values if isinstance(value, ast.Name)}


def refuse_module(fault: Fault) -> None:
    """A module fault names a module with formulas, and its text occurs there exactly once."""
    path = ROOT / "dpo_edu" / fault.where
    if fault.where in NO_FORMULAS or not path.is_file():
        raise BadControl(f"{fault.where} is not a module with formulas")
    if (times := path.read_text("utf-8").count(fault.old)) != 1:
        raise BadControl(f"the text occurs {times} times in {fault.where}")


def refuse_cell(fault: Fault, check: str, sources: dict[str, str], slugs: list[str]) -> None:
    """A cell fault changes a formula the check needs, never the check or its expected value."""
    if fault.where not in slugs:
        raise BadControl(f"the check does not need the cell {fault.where}")
    source = sources[fault.where]
    if (times := source.count(fault.old)) != 1:
        raise BadControl(f"the text occurs {times} times in {fault.where}")
    first = source[: source.index(fault.old)].count("\n") + 1
    last = first + fault.old.count("\n")
    expected = expected_names(sources[check])
    for statement in ast.parse(source).body:
        if not (statement.lineno <= last and first <= statement.end_lineno):
            continue
        text = ast.unparse(statement)
        if ledger_calls(text):
            raise BadControl("the text lies in a call of the ledger")
        if fault.where == check and names(text).binds & expected:
            raise BadControl("the text lies in the expected value")


# --- the report ---------------------------------------------------------------------------------


def report(notebook: str, renew: bool, every_fault: bool) -> int:
    """Print what each control fells and what none does; how many are bad or open."""
    bad = 0
    own = [control for control in controls() if control.notebook == notebook]
    known = faults(notebook)
    found = []
    for control in own:
        try:
            fallen = felled(control.check, known[control.fault], cells(notebook))
            verdict = "" if fallen and set(control.lines) <= set(fallen) else "BAD: "
            others = sorted(set(fallen) - set(control.lines))
            print(f"{verdict}{control}: {list(control.lines)}, others {others}", flush=True)
        except (BadControl, KeyError) as error:
            fallen, verdict = [], "BAD: "
            print(f"BAD: {control}: {error}", flush=True)
        found.append(fallen)
        bad += bool(verdict)
    for check in evidence_lines(notebook):  # what a control runs suffices without a fault
        try:
            baseline(notebook, [check])
        except BadControl as error:
            print(f"BAD: {notebook}-{check}: {error}", flush=True)
            bad += 1
    if renew:
        write_lines(notebook, found)
    missing = uncovered(notebook)
    for check, lines in missing.items():
        named = [f"{n} ({' '.join(evidence_lines(notebook)[check][n - 1])})" for n in lines]
        print(f"no control fells {check}: {', '.join(named)}")
        for name, fault in known.items() if every_fault else ():
            with contextlib.suppress(BadControl):
                if useful := sorted(set(felled(check, fault, cells(notebook))) & set(lines)):
                    print(f"    {name} would fell {useful}", flush=True)
    return bad + sum(map(len, missing.values()))


def write_lines(notebook: str, found: list[list[int]]) -> None:
    """Put the lines that were seen to fall into the notebook's file, control by control."""
    path, order = FOLDER / f"{notebook}.toml", iter(found)
    text = re.sub(
        r"(?m)^lines = \[.*\]$", lambda _: f"lines = {next(order)}", path.read_text("utf-8")
    )
    path.write_text(text, "utf-8")
    read.cache_clear()


def concerned(notebook: str, fault: Fault) -> list[str]:
    """The check cells that use the module or the cell that a fault is in."""
    sources = cells(notebook)
    if not fault.in_module:
        wanted = {check: needed_cells(sources, check) for check in evidence_lines(notebook)}
        return [check for check, needed in wanted.items() if fault.where in needed]
    ours = names_from("\n".join(sources.values()), users(Path(fault.where).stem))
    reads = {id: names(source).uses | names(source).later for id, source in sources.items()}
    return [
        check
        for check in evidence_lines(notebook)
        if any(reads[id] & ours for id in needed_cells(sources, check))
    ]


def names_from(source: str, stems: frozenset[str]) -> set[str]:
    """The names under which a notebook imports these modules of `dpo_edu` or things from them."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name
        for node in imports
        for alias in node.names
        if (alias.name if node.module == "dpo_edu" else (node.module or "")[8:]) in stems
    }


@cache
def users(stem: str) -> frozenset[str]:
    """A module of `dpo_edu` and every module that imports it, directly or not."""
    found = {stem}
    for path in (ROOT / "dpo_edu").glob("*.py"):
        if path.stem != stem and stem in mutants.imported(path.read_text("utf-8")):
            found |= users(path.stem)
    return frozenset(found)


def outcome(notebook: str, check: str, fault: Fault) -> str:
    """What a check makes of a fault: the lines that fail, an error, or nothing."""
    try:
        return " ".join(map(str, felled(check, fault, cells(notebook))))
    except BadControl as error:
        return "raises" if " raises " in str(error) else ""


def try_all(chosen: list[str]) -> int:
    """Print what each check makes of each fault that concerns it; how many no check notices."""
    noticed: dict[str, bool] = {}
    for notebook in chosen:
        for name, fault in faults(notebook).items():
            found = {check: outcome(notebook, check, fault) for check in concerned(notebook, fault)}
            if not found:
                continue
            noticed[name] = noticed.get(name, False) or any(found.values())
            seen = ", ".join(check for check, lines in found.items() if lines) or "no check"
            print(f"{notebook}, {name}: {seen} of {len(found)}", flush=True)
    unnoticed = [name for name, seen in noticed.items() if not seen]
    print(f"{len(noticed)} faults; noticed by no check: {', '.join(unnoticed) or 'none'}")
    return len(unnoticed)


def main() -> int:
    """Report on one notebook, or on all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", metavar="NN", help="such as 07; all by default")
    parser.add_argument("--renew", action="store_true", help="write down which lines fall")
    parser.add_argument("--every-fault", action="store_true", help="try all faults on open lines")
    parser.add_argument("--all-faults", action="store_true", help="try all faults on all checks")
    options = parser.parse_args()
    paths = [p for name in options.notebooks or [None] for p in notebooks.numbered(name)]
    chosen = [notebooks.slug(path) for path in paths]
    if options.all_faults:
        return int(try_all(chosen) > 0)
    return int(sum(report(nb, options.renew, options.every_fault) for nb in chosen) > 0)


if __name__ == "__main__":
    notebooks.prepare()
    sys.exit(main())
