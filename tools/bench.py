"""Measure the suite, beside its peers where there are any, and record what was found.

python -m tools.bench [NAME ...] [--in-place]

Every module of `benchmarks` that is listed here has a function `measure`, which returns rows. Each
runs in a process of its own, with one thread; those that need a trainer run in an environment of
its own, build/peers, made of this one and the pinned extra `lm`. Bounds are on numbers and on
ratios of times taken in turn in one run, never on a time. ``--in-place`` renews a picture that was
drawn, and benchmarks/figures.json, from which `python -m tools.docs` writes docs/benchmarks.md.
"""

import argparse
import importlib
import json
import operator
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from tools import notebooks

RECORD = notebooks.ROOT / "benchmarks" / "figures.json"
FIGURES = notebooks.ROOT / "docs" / "figures"
FOUND = notebooks.BUILD / "bench"
PEERS = notebooks.BUILD / "peers"
NAMES = (
    "limit", "table", "transformer", "defaults", "responses", "pair_loss", "growth", "rooms",
    "workers",
)  # fmt: skip
WITH_PEERS = {"transformer"}
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
BOUNDS = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Row:
    """A figure that was measured; with a goal it is a number, or a ratio within one run."""

    what: str
    value: float
    unit: str = ""  # "×" for a ratio; "ms", "nats" and the like are reported without a goal
    goal: str = ""  # "<= 1.15", ">= 10", or ">= 0.97 <= 1.03"
    why: str = ""  # of a miss

    def __post_init__(self) -> None:
        """Refuse a goal on a time: another machine would miss it."""
        if self.goal and self.unit in {"s", "ms", "us", "µs"}:
            raise ValueError(f"{self.what}: expected a goal on a ratio, got one in {self.unit}.")

    @property
    def met(self) -> bool:
        """Whether the goal is reached, as it is if there is none; a NaN reaches none."""
        words = self.goal.split()
        pairs = zip(words[::2], words[1::2], strict=True)
        return all(BOUNDS[sign](self.value, float(bound)) for sign, bound in pairs)


def race(
    contestants: dict[str, Callable[[], object]], *, rounds: int = 9, warm: int = 1
) -> dict[str, list[float]]:
    """Seconds of every contestant in each round, one after the other, after rounds not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(warm + rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if number >= warm:
                taken[name].append(time.perf_counter() - start)
    return taken


def ratio(taken: dict[str, list[float]], one: str, other: str) -> float:
    """The median over rounds of how many times as long the one took as the other."""
    return statistics.median(a / b for a, b in zip(taken[one], taken[other], strict=True))


def peers() -> Path:
    """The Python of the peers' environment, which is made at first."""
    python = PEERS / "bin" / "python"
    ready = PEERS / "ready"
    if not ready.exists():
        print("Making the peers' environment", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS], check=True)
        here = sysconfig.get_path("purelib")
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (PEERS / "lib" / name / "site-packages" / "base.pth").write_text(here, "utf-8")
        pip = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "-c",
            "constraints.txt",
            f"{notebooks.ROOT}[lm]",
        ]
        subprocess.run(pip, check=True, cwd=notebooks.ROOT)
        subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "dpo-edu"], check=True)
        ready.touch()
    return python


def measured(name: str) -> dict[str, object]:
    """What a benchmark found, with what it was run on; it prints on its way."""
    target = FOUND / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    python = peers() if name in WITH_PEERS else sys.executable
    where = {"PYTHONPATH": str(notebooks.ROOT)}
    run = [python, "-m", "tools.bench", "--to", target, name]
    subprocess.run(run, check=True, cwd=notebooks.ROOT, env=os.environ | THREADS | where)
    return json.loads(target.read_text("utf-8"))


def measure_here(name: str, target: Path) -> None:
    """Run a benchmark in this process and write what it found."""
    start = time.perf_counter()
    rows = importlib.import_module(f"benchmarks.{name}").measure()
    found = {
        "date": f"{date.today():%-d %B %Y}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {package: version(package) for package in ("numpy", "torch")},
        "seconds": round(time.perf_counter() - start),
        "rows": [asdict(row) for row in rows],
    }
    notebooks.save(target, f"{json.dumps(found, indent=1, ensure_ascii=False)}\n")


def recorded() -> dict[str, dict[str, object]]:
    """What the last runs in place found, by name."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}


def figure(value: float, unit: str = "") -> str:
    """A number with three digits that count, and its unit."""
    number = f"{value:.3g}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.1e}"
    return f"× {number}" if unit == "×" else f"{number} {unit}".strip()


def said(row: Row) -> str:
    """A row's goal in words, and whether it is reached."""
    goal = row.goal.replace("<= ", "≤ ").replace(">= ", "≥ ").replace(" ≤", ", ≤")
    return goal if row.met else f"{goal}: missed. {row.why}".rstrip()


def line(row: Row) -> str:
    """A row as it is printed."""
    verdict = f" (goal {row.goal}: {'met' if row.met else 'MISSED'})" if row.goal else ""
    return f"{row.what}: {figure(row.value, row.unit)}{verdict}"


def main() -> None:
    """Run the benchmarks named, or all; status 1 if a goal was missed and nobody wrote it down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--in-place", action="store_true", help="renew the record")
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if strange := set(options.names) - set(NAMES):
        parser.error(f"expected names of {', '.join(NAMES)}, got {', '.join(sorted(strange))}.")
    if options.to:
        measure_here(options.names[0], options.to)
        return
    missed = 0
    for name in options.names or NAMES:
        print(f"{name}:", flush=True)
        found = measured(name)
        rows = [Row(**row) for row in found["rows"]]
        missed += sum(not row.met for row in rows)
        print("\n".join(f"  {line(row)}" for row in rows), flush=True)
        if options.in_place:
            record = json.dumps(recorded() | {name: found}, indent=1, ensure_ascii=False)
            notebooks.save(RECORD, f"{record}\n")
            if (drawn := FOUND / f"{name}.png").exists():
                notebooks.save(FIGURES / drawn.name, drawn.read_bytes())
    if missed and not options.in_place:
        sys.exit(f"{missed} goals were missed.")


if __name__ == "__main__":
    notebooks.ended(main)
