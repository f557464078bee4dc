"""How long a notebook takes to read, and where it departs from what a reader is promised.

python -m tools.reading [--nb 05]

Minutes: words / 200, and 5 seconds for a line of code, 30 for a figure, 20 for a displayed formula.
What is folded does not count: cells tagged ``hide-input``, solutions in ``<details>``, the section
*More evidence*; nor do imports and the ledger.
"""

import argparse
import ast
import builtins
import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from nbformat import NotebookNode

from dpo_edu import ledger
from tools import notebooks

IN_FULL = "in-full"  # the tag of a cell that may be long: the loss, the loop, all of DPO
SENTENCE = re.compile(r"[.!?](?=\s|$)")


@dataclass(frozen=True)
class Ceilings:
    """What a notebook may ask of its reader."""

    minutes: int
    words: int
    lines: int
    evidence: int = 12
    in_full: int = 2


ROAD, SIDE = Ceilings(20, 1500, 120), Ceilings(30, 2200, 180)
START = Ceilings(20, 1800, 120, in_full=9)  # with the map of the rooms


def ceilings(slug: str) -> Ceilings:
    """Those of the first room, of the road, or of a side room."""
    road, _ = notebooks.rooms()
    return START if slug == road[0] else ROAD if slug in road else SIDE


def open_cells(book: NotebookNode) -> list[NotebookNode]:
    """All cells but those of the folded section *More evidence*."""
    found, folded = [], False
    for cell in book.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            folded = cell.source.startswith(notebooks.MORE)
        if not folded:
            found.append(cell)
    return found


def is_folded(cell: NotebookNode) -> bool:
    """Whether its code does not show."""
    return notebooks.FOLD in cell.metadata.get("tags", [])


def code(book: NotebookNode) -> list[NotebookNode]:
    """The open cells of code that a reader reads: without imports and the ledger's end."""
    cells = [c for c in open_cells(book) if c.cell_type == "code" and not is_folded(c)]
    return [c for c in cells if c is not book.cells[1] and c.source != "ledger.summary()"]


def lines(cell: NotebookNode) -> int:
    """Lines of code that are not empty."""
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def prose(book: NotebookNode) -> str:
    """What there is to read beside code: without what is folded and without comments."""
    text = "\n\n".join(c.source for c in open_cells(book) if c.cell_type == "markdown")
    return re.sub(r"<details>.*?</details>|<!--.*?-->", "", text, flags=re.DOTALL)


def words(book: NotebookNode) -> int:
    """Words of prose: no displayed formulas, addresses of links or rules of tables."""
    text = re.sub(r"\$\$.*?\$\$", "", prose(book), flags=re.DOTALL)
    words = re.sub(r"\]\([^)]*\)", "]", text).split()
    return sum(word.strip("|-") != "" for word in words)


def outputs(book: NotebookNode) -> list[NotebookNode]:
    """What stands open under cells of code."""
    return [o for c in open_cells(book) for o in c.get("outputs", [])]


def figures(book: NotebookNode) -> int:
    """Pictures."""
    kinds = {"image/png", "image/svg+xml", notebooks.WIDGET}
    return sum(bool(kinds & set(o.get("data", {}))) for o in outputs(book))


def formulas(book: NotebookNode) -> int:
    """Displayed formulas, written or printed."""
    typeset = sum("text/latex" in o.get("data", {}) for o in outputs(book))
    return typeset + len(re.findall(r"\$\$.*?\$\$", prose(book), flags=re.DOTALL))


def seconds(book: NotebookNode) -> float:
    """How long it takes to read."""
    read = 5 * sum(map(lines, code(book))) + 30 * figures(book) + 20 * formulas(book)
    return words(book) / 200 * 60 + read


def minutes(book: NotebookNode) -> int:
    """The same in minutes, rounded up."""
    return math.ceil(seconds(book) / 60)


def sections(book: NotebookNode) -> list[list[NotebookNode]]:
    """The open cells, section by section."""
    found: list[list[NotebookNode]] = [[]]
    for cell in open_cells(book):
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            found.append([])
        found[-1].append(cell)
    return found


# --- names --------------------------------------------------------------------------------------


def defined(source: str) -> set[str]:
    """The names that a cell defines for cells after it."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            found |= {
                x.id
                for x in ast.walk(node)
                if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
            } - inner(node)
    return found - {"_"}


def inner(node: ast.AST) -> set[str]:
    """Names that live in comprehensions only."""
    parts = [x for x in ast.walk(node) if isinstance(x, ast.comprehension)]
    return {n.id for part in parts for n in ast.walk(part.target) if isinstance(n, ast.Name)}


def used(source: str) -> set[str]:
    """The names that a cell reads."""
    nodes = ast.walk(ast.parse(source))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return names - set(dir(builtins))


def hidden_names(book: NotebookNode) -> set[str]:
    """Names that open cells use and only a folded cell defines, data apart."""
    known: dict[str, bool] = {}
    found = set()
    for cell in (c for c in open_cells(book) if c.cell_type == "code"):
        if not is_folded(cell):
            found |= {name for name in used(cell.source) if known.get(name)}
        fold = is_folded(cell) and not cell.id.endswith("-data")
        known |= dict.fromkeys(defined(cell.source), fold)
    return found


def starred(source: str) -> bool:
    """Whether a call of the ledger or of a loss is given arguments by a star."""
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    watched = [c for c in calls if re.match(r"(ledger|losses)\.", ast.unparse(c.func))]
    return any(
        isinstance(a, ast.Starred) or (isinstance(a, ast.keyword) and a.arg is None)
        for call in watched
        for a in [*call.args, *call.keywords]
    )


# --- what a reader is promised ------------------------------------------------------------------


def flaws(book: NotebookNode, allowed: Ceilings) -> list[str]:
    """Where it asks too much, or leaves something out."""
    return [*too_much(book, allowed), *cell_flaws(book, allowed), *figure_flaws(book), *ends(book)]


def too_much(book: NotebookNode, allowed: Ceilings) -> Iterator[str]:
    """Minutes, words, lines and evidence above the ceilings."""
    shown = sum(ledger.EVIDENCE in o.get("data", {}) for o in outputs(book))
    measured = {
        "minutes": (minutes(book), allowed.minutes),
        "words": (words(book), allowed.words),
        "open lines of code": (sum(map(lines, code(book))), allowed.lines),
        "open lines of evidence": (shown, allowed.evidence),
    }
    for what, (found, most) in measured.items():
        if found > most:
            yield f"at most {most} {what}: {found}"


def cell_flaws(book: NotebookNode, allowed: Ceilings) -> Iterator[str]:
    """Cells that are long, that name too much, that hide what an open cell needs."""
    cells = code(book)
    full = [c for c in cells if IN_FULL in c.metadata.get("tags", [])]
    if len(full) > allowed.in_full:
        yield f"at most {allowed.in_full} cells in full: {[c.id for c in full]}"
    short = [c for c in cells if c not in full]
    if short and statistics.median(map(lines, short)) > 5:
        yield f"code cells have 5 lines in the median: {statistics.median(map(lines, short))}"
    long = [c.id for c in short if lines(c) > 8]
    if len(long) > 0.15 * len(short):
        yield f"85 % of the code cells have at most 8 lines: not {long} of {len(short)}"
    known: set[str] = set()
    for cell in (c for c in book.cells if c.cell_type == "code"):
        new = defined(cell.source) - known
        known |= new
        if cell in short and len(new) > 3:
            yield f"at most 3 new names a cell: {cell.id} has {sorted(new)}"
        if starred(cell.source):
            yield f"no starred arguments for the ledger or a loss: {cell.id}"
    if names := hidden_names(book):
        yield f"an open cell needs what a folded one defines: {sorted(names)}"
    for section in sections(book):
        checks = [c.id for c in section if c.id.endswith("-check") and is_folded(c)]
        if len(checks) > 1:
            yield f"one folded check cell a section: {checks}"


def figure_flaws(book: NotebookNode) -> Iterator[str]:
    """Figures that say nothing to who cannot see them."""
    for cell in book.cells:
        if any("image/png" in o.get("data", {}) for o in cell.get("outputs", [])):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            stored = [
                o.metadata.get("image/png", {}).get("alt")
                for o in cell.outputs
                if "image/png" in o.get("data", {})
            ]
            if len(alt.split()) < 6 or any(text != alt for text in stored):
                yield f"a figure's cell begins with a comment, its alternative text: {cell.id}"


def ends(book: NotebookNode) -> Iterator[str]:
    """The end: Remember in three sentences, Not shown, one exercise with its solution, Next."""
    text = "\n\n".join(c.source for c in book.cells[-8:] if c.cell_type == "markdown")
    parts = dict(re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", text))
    order = [name for name in parts if name in ("Remember", "Not shown", "Exercise", "Next")]
    if order != ["Remember", "Not shown", "Exercise", "Next"]:
        yield f"it ends with Remember, Not shown, Exercise, Next: {order}"
        return
    plain = re.sub(r"\$[^$]*\$", "x", parts["Remember"])
    if len(SENTENCE.findall(plain)) != 3:
        yield f"Remember has three sentences: {len(SENTENCE.findall(plain))}"
    if parts["Exercise"].count("<details>") != 1:
        yield "one exercise with a folded solution"


def main() -> int:
    """Print the minutes and the flaws."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nb", metavar="NN", help="only this notebook, such as 05")
    count = 0
    for path in notebooks.numbered(parser.parse_args().nb):
        book = notebooks.read(path)
        found = flaws(book, ceilings(notebooks.slug(path)))
        total = sum(map(lines, code(book)))
        print(
            f"{path.stem}: {seconds(book) / 60:.1f} minutes ({words(book)} words, {total} lines, "
            f"{figures(book)} figures, {formulas(book)} formulas)"
        )
        print(*(f"  {flaw}" for flaw in found), sep="\n", end="\n" * bool(found))
        count += len(found)
    return int(count > 0)


if __name__ == "__main__":
    notebooks.ended(main)
