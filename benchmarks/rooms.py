"""What the notebooks cost, beside what any notebook costs that only imports the same.

The floor of a notebook is its time up to the end of its cell of imports: a kernel started, the
imports made, the kernel ended. Those that need a language model are left out.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tools import notebooks
from tools.bench import Row

WORKERS, COSTLY = 2, 8  # the costliest get a row of their own


def only_imports(path: Path, folder: Path) -> Path:
    """A copy of a notebook in `folder` that ends with its cell of imports."""
    notebook = notebooks.read(path)
    ends = [cell.id for cell in notebook.cells].index("imports") + 1
    notebook.cells = notebook.cells[:ends]
    copy = folder / path.name
    notebooks.write(notebook, copy)
    return copy


def seconds_each(paths: list[Path]) -> tuple[float, list[float]]:
    """Seconds of all, by so many workers, and of each."""

    def timed(path: Path) -> float:
        start = time.perf_counter()
        notebooks.executed(path)
        return time.perf_counter() - start

    start = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        each = list(pool.map(timed, paths))
    return time.perf_counter() - start, each


class Costs(NamedTuple):
    """The rows of the costliest notebooks, and in a sentence what part of the time is theirs."""

    each: list[Row]
    why: str


def rows_of(names: list[str], bare: list[float], whole: list[float]) -> Costs:
    """Where the time goes, from the seconds of each notebook without and with what follows."""
    beyond = [b - a for a, b in zip(bare, whole, strict=True)]
    costliest = sorted(range(len(names)), key=lambda k: -beyond[k])[:COSTLY]
    share = sum(beyond[k] for k in costliest) / sum(beyond)
    within = sum(b <= 3 * a for a, b in zip(bare, whole, strict=True))
    each = [Row(f"`{names[k]}` over its imports", whole[k] / bare[k], "×") for k in costliest]
    why = f"Of the time beyond the imports {share:.0%} is that of the {len(each)} named here."
    return Costs([Row("notebooks at most three times their imports", within), *each], why)


def measure() -> list[Row]:
    """All over the floor of all, and for the costliest what each costs over its own."""
    notebooks.prepare()
    rooms = [path for path in notebooks.numbered() if not notebooks.is_apart(path)]
    with tempfile.TemporaryDirectory() as folder:
        floors = [only_imports(path, Path(folder)) for path in rooms]
        print("  imports", flush=True)
        floor, bare = seconds_each(floors)
        print("  notebooks", flush=True)
        total, whole = seconds_each(rooms)
    rows = rows_of([notebooks.slug(path) for path in rooms], bare, whole)
    what = f"all {len(rooms)} notebooks over their imports, two workers"
    return [
        Row(what, total / floor, "×", "<= 3", rows.why),
        Row("all notebooks, two workers", total, "s"),
        Row("kernels and imports alone, two workers", floor, "s"),
        *rows.each,
    ]
