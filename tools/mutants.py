"""Break dpo_edu token by token and see which tests notice; what nobody notices is a survivor.

python -m tools.mutants [--seed 1] [--number 300] [--graders] [--only gibbs] [--again] [--stages 1]

A seed draws mutants over the modules in proportion to their size. Each is shown to its module's
tests and doctests, if it lives to all unit tests, then to the notebooks that import the module.
`tests/mutants_excused.toml` holds survivors that change nothing, each with its argument; they are
shown to all unit tests, in case one knows better. The report is `build/mutants.md`. Children are
forked from a process that has imported PyTorch once, so this runs on POSIX only.
"""

import argparse
import ast
import gc
import hashlib
import importlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from tools import notebooks
from tools.mutations import Mutation, mutations

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ["cvxpy", "choix", "hypothesis", "IPython", "matplotlib.pyplot", "mpmath", "nbformat"]
HEAVY += ["hypothesis.extra.numpy", "PIL.Image", "scipy.optimize", "scipy.stats", "sympy", "torch"]
HEAVY += ["torch._dynamo", "torch.testing", "tqdm.auto"]
GRADERS = "exercises/source"
#: Test files of modules that have others than one of their own name.
TESTED_BY = {
    "_ascent": ("rlhf",),
    "_estimate": ("preferences", "rankings"),
    "symbolic": ("symbolic", "points"),
    "_alike": ("alike", "graders"),
    "_checks": ("checks", "distributions", "gibbs"),
    "_compare": ("compare", "ledger"),
    "grading": ("tasks", "graders"),
    "_fit": ("training",),
    "_newton": ("training",),
    "_run": ("training", "rlhf"),
}
#: Test files that test no formula of the package, or start kernels.
NO_UNIT = {"benchmarks", "controls", "course", "documentation", "environment", "exercises"}
NO_UNIT |= {"flaky", "grading", "layering", "mutants", "notebooks", "proofs", "quality"}
NO_UNIT |= {"slides", "tools"}
#: Tests of a minute or more, which come with the others: most mutants die before.
SLOW = ("tests/test_symbolic.py::test_no_random_falsehood_is_proved",)
STAGES = ("its tests", "all unit tests", "notebooks")
PATIENCE = 5  # times as long as without a mutant, and FLOOR on top: then it is an endless loop
FLOOR_SECONDS = 20.0


class BadRun(Exception):
    """The run says nothing: tests fail without a mutant, or an excuse names no mutant."""


# --- drawing ------------------------------------------------------------------------------------


def modules(root: Path, graders: bool = False) -> list[str]:
    """The modules of the package by name, or the graders, each with the folder it is in."""
    if graders:
        return sorted(f"{p.parent.name}/{p.name}" for p in (root / GRADERS).glob("*/grader.py"))
    return sorted(path.name for path in (root / "dpo_edu").glob("*.py"))


def path_of(root: Path, module: str) -> Path:
    """Where a module of the package or a grader is."""
    return root / (GRADERS if "/" in module else "dpo_edu") / module


def stem_of(module: str) -> str:
    """What a module is called, and a grader's assignment without its number."""
    path = Path(module)
    return path.parent.name.partition("_")[2] or path.stem


def draw(sources: dict[str, str], number: int, seed: int) -> list[Mutation]:
    """At least `number` mutations, as many of each module as its share; a prefix of one order.

    The order is by hashes of seed, module, line and mutation: an edit elsewhere redraws nothing.
    """
    every = {module: mutations(source, module) for module, source in sources.items()}
    total = sum(map(len, every.values()))
    drawn = []
    for own in every.values():
        count = -(-number * len(own) // total) if total else 0
        drawn += sorted(own, key=lambda m: hashed(seed, *m.key))[:count]
    return sorted(drawn, key=lambda m: (m.module, m.start, m.new))


def hashed(*parts: object) -> str:
    """A number for a draw, the same on every machine."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def excuses(path: Path) -> dict[tuple[str, str, str], str]:
    """The arguments for mutants that change nothing, by module, line and mutation."""
    rows = tomllib.loads(path.read_text("utf-8")).get("excused", []) if path.exists() else []
    return {(row["module"], row["line"], row["mutation"]): row["argument"] for row in rows}


def stale(excused: dict[tuple[str, str, str], str], root: Path) -> list[str]:
    """Excuses for mutants that the package no longer has."""
    names = modules(root) + modules(root, graders=True)
    known = {m.key for n in names for m in mutations(path_of(root, n).read_text("utf-8"), n)}
    return [" | ".join(key) for key in excused if key not in known]


# --- running one --------------------------------------------------------------------------------


def forked(work: Callable[[], int], seconds: float) -> int:
    """Exit status of `work` in a child, silent and in a session of its own; 124 if it hangs."""
    sys.stdout.flush()
    if not (child := os.fork()):
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


@contextmanager
def broken_copy(root: Path, mutation: Mutation | None) -> Iterator[Path]:
    """A folder that holds a copy of the package, and of the graders, with the mutation in it."""
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns(f"{Path(mutation.module).stem}.*.pyc" if mutation else "-")
        for part in ("dpo_edu", GRADERS):
            if (root / part).exists():
                shutil.copytree(root / part, Path(folder, part), ignore=ignored)
        if mutation:
            path = path_of(Path(folder), mutation.module)
            path.write_text(mutation.apply(path.read_text("utf-8")), "utf-8")
        yield Path(folder)


def run_tests(root: Path, folder: Path, tests: list[str]) -> int:
    """Run pytest on `tests` with the copy in `folder` imported; what it returns."""
    import pytest

    os.environ["PYTHONPATH"] = str(folder)
    os.environ["GRADERS"] = str(folder / GRADERS)
    sys.path.insert(0, str(folder))
    os.chdir(root)
    settings = [f"pythonpath={folder} . tests {folder}", "addopts=--doctest-modules"]
    options = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=no",
        "-W",
        "ignore::pytest.PytestWarning",
    ]
    options += ["--import-mode=append"]  # or conftest.py would put the root before the copy
    options += ["--rootdir", str(root), "-c", str(root / "pyproject.toml"), "--hypothesis-seed=0"]
    options += ["--hypothesis-profile=mutants", *(o for s in settings for o in ("-o", s))]
    status = int(pytest.main([*options, *(t.replace("{copy}", str(folder)) for t in tests)]))
    imported = getattr(sys.modules.get("dpo_edu"), "__file__", "") or ""
    return 99 if imported and not imported.startswith(str(folder)) else status


def run_notebook(folder: Path, path: Path) -> int:
    """Execute the code cells of a notebook in an empty folder; 1 where one raises."""
    sys.path.insert(0, str(folder))
    code = [c.source for c in notebooks.read(path).cells if c.cell_type == "code"]
    names = {"__name__": "__main__", "display": lambda *_, **__: None}
    with tempfile.TemporaryDirectory() as empty, redirect_stdout(io.StringIO()):
        os.chdir(empty)
        for source in code:
            exec(compile(source, path.name, "exec"), names)
    return 0


# --- stages -------------------------------------------------------------------------------------


@dataclass
class Stage:
    """One thing a mutant is shown: how to run it on a copy, and how long it takes without one."""

    name: str
    run: Callable[[Path], int]
    seconds: float = 0.0

    def measure(self, root: Path) -> bool:
        """Whether it passes without a mutant; and how long that took."""
        started = time.monotonic()
        with broken_copy(root, None) as folder:
            status = forked(lambda: self.run(folder), 600)
        self.seconds = time.monotonic() - started
        return status == 0

    def kills(self, root: Path, mutation: Mutation) -> bool:
        """Whether it fails, or never ends, with the mutation."""
        with broken_copy(root, mutation) as folder:
            status = forked(lambda: self.run(folder), FLOOR_SECONDS + PATIENCE * self.seconds)
        if status in (4, 5, 99):
            raise BadRun(f"{self.name}: pytest ran no tests of the copy (status {status})")
        return status != 0


@dataclass
class Suite:
    """The stages for the modules of one project, each measured when it is first needed."""

    root: Path
    places: int = len(STAGES)
    measured: dict[str, bool] = field(default_factory=dict)
    made: dict[str, Stage] = field(default_factory=dict)

    def stages(self, place: int, module: str) -> Iterator[Stage]:
        """What the mutants of a module are shown in this place; nothing that fails anyway."""
        for stage in (self.own_tests, self.other_tests, self.lectures)[place](module):
            stage = self.made.setdefault(stage.name, stage)
            if stage.name not in self.measured:
                self.measured[stage.name] = passed = stage.measure(self.root)
                if not passed and not place:
                    raise BadRun(f"{stage.name} fails without a mutant")
                if not passed:
                    print(f"  left out, for it fails without a mutant: {stage.name}", flush=True)
            if self.measured[stage.name]:
                yield stage

    def pytest(self, name: str, tests: list[str]) -> Stage:
        """Some tests as a stage."""
        return Stage(name, lambda folder: run_tests(self.root, folder, tests))

    def own_names(self, module: str) -> list[str]:
        """The test files of a module, as far as there are some."""
        stem = stem_of(module)
        names = ("graders",) if "/" in module else TESTED_BY.get(stem, (stem,))
        files = [f"tests/test_{name}.py" for name in names]
        return [file for file in files if (self.root / file).exists()]

    def own_tests(self, module: str) -> list[Stage]:
        """Its doctests and its test files."""
        tests = self.own_names(module)
        if "/" in module:
            tests += ["-k", stem_of(module)]  # a grader is tried with its own answers
        else:
            tests = [f"{{copy}}/dpo_edu/{module}", *tests]
        tests += [f"--deselect={test}" for test in SLOW]
        return [self.pytest(f"tests of {module}", tests)]

    def other_tests(self, module: str) -> list[Stage]:
        """Every other test file that tests formulas; a stage each, the first kill is enough."""
        own = self.own_names(module)
        slow = [test for test in SLOW if test.partition("::")[0] in own]
        names = slow + [name for name in unit_tests(self.root) if name not in own]
        return [self.pytest(name, [name]) for name in names]

    def lectures(self, module: str) -> list[Stage]:
        """The notebooks that import it, or a module that does."""
        if "/" in module:
            return []
        wanted = users(self.root / "dpo_edu", Path(module).stem)
        every = notebooks.numbered(folder=self.root / "notebooks")
        paths = [p for p in every if not notebooks.is_apart(p) and uses(p, wanted)]
        return [self.lecture(path) for path in paths]

    def lecture(self, path: Path) -> Stage:
        """A notebook as a stage."""
        return Stage(path.name, lambda folder: run_notebook(folder, path))

    def killer(self, mutation: Mutation, excused: bool) -> tuple[str, str]:
        """The first of `STAGES` that notices a mutant and what noticed it; empty for a survivor."""
        for place, name in enumerate(STAGES[: min(self.places, 2) if excused else self.places]):
            for stage in self.stages(place, mutation.module):
                if stage.kills(self.root, mutation):
                    return name, stage.name
        return "", ""


def unit_tests(root: Path) -> list[str]:
    """The test files that test formulas of the package."""
    files = sorted((root / "tests").glob("test_*.py"))
    return [f"tests/{f.name}" for f in files if f.stem.removeprefix("test_") not in NO_UNIT]


def imported(source: str) -> set[str]:
    """Stems of the modules of dpo_edu that a source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "dpo_edu":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dpo_edu."):
            found.add(node.module.split(".")[1])
    return found


def users(package: Path, stem: str) -> set[str]:
    """A private module stands for the modules that import it, a public one for itself."""
    if not stem.startswith("_"):
        return {stem}
    direct = {p.stem for p in package.glob("*.py") if stem in imported(p.read_text("utf-8"))}
    return set().union(*(users(package, other) for other in direct))


def uses(path: Path, wanted: set[str]) -> bool:
    """Whether a notebook imports one of these modules."""
    code = (c.source for c in notebooks.read(path).cells if c.cell_type == "code")
    return any(imported(source) & wanted for source in code)


# --- the report ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """A mutant, the stage that noticed it ("" for none), what did, and its excuse if it has one."""

    mutation: Mutation
    stage: str
    by: str
    excuse: str = ""

    @property
    def fate(self) -> str:
        """The column of the report it counts in."""
        return self.stage or ("excused" if self.excuse else "survived")


def report(verdicts: list[Verdict], seed: int) -> str:
    """Counts for each module, then every mutant that the module's own tests did not notice."""
    columns = [*STAGES, "excused", "survived"]
    lines = [f"# Mutants, seed {seed}", "", f"| module | mutants | {' | '.join(columns)} |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    by_module = Counter((v.mutation.module, v.fate) for v in verdicts)
    for module in dict.fromkeys(v.mutation.module for v in verdicts):
        counts = [by_module[module, column] for column in columns]
        lines.append(f"| {module} | {sum(counts)} | {' | '.join(map(str, counts))} |")
    totals = [sum(v.fate == column for v in verdicts) for column in columns]
    lines.append(f"| all | {len(verdicts)} | {' | '.join(map(str, totals))} |")
    for column in reversed(columns[1:]):
        lines += ["", f"## {column.capitalize()}", ""]
        lines += [told(v) for v in verdicts if v.fate == column]
    return "\n".join(lines) + "\n"


def told(verdict: Verdict) -> str:
    """A line of the report."""
    m = verdict.mutation
    why = verdict.by or verdict.excuse
    return f"- {m.module}:{m.lineno} `{m.line}`: {m.name}" + (f" ({why})" if why else "")


# --- the command --------------------------------------------------------------------------------


def warm_up() -> None:
    """Import once what every child needs, and never the package itself."""
    notebooks.prepare()
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp()
    import matplotlib

    matplotlib.use("Agg")
    for name in HEAVY:
        importlib.import_module(name)
    import pytest
    from hypothesis import Phase, settings

    with redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as empty:
        pytest.main(["--rootdir", empty, "-c", os.devnull, empty])  # imports pytest's plugins
    quick = (Phase.explicit, Phase.generate)  # a failure need not be made small
    settings.register_profile(
        "mutants", phases=quick, max_examples=25, deadline=None, database=None
    )
    gc.collect()
    gc.freeze()  # or every child would walk through all of PyTorch again


def judge(drawn: list[Mutation], suite: Suite, kept: dict[str, list[str]]) -> Iterator[Verdict]:
    """The verdict on every mutant, one by one; `kept` are the kills of an earlier run."""
    excused = excuses(suite.root / "tests" / "mutants_excused.toml")
    for count, mutation in enumerate(drawn, 1):
        excuse = excused.get(mutation.key, "")
        stage, by = kept.get(hashed(*mutation.key)) or suite.killer(mutation, bool(excuse))
        verdict = Verdict(mutation, stage, by, excuse)
        if stage and verdict.excuse:
            print(f"  not as equivalent as its excuse says: {told(verdict)}")
        kept[hashed(*mutation.key)] = [stage, by] if stage else []
        print(f"{count}/{len(drawn)} {verdict.fate}: {told(verdict)}", flush=True)
        yield verdict


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Draw, judge, write the report; 1 if anything survives without an excuse."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=300, help="how many mutants, at least")
    parser.add_argument("--graders", action="store_true", help="break the graders instead")
    parser.add_argument("--only", metavar="MODULE", help="of those drawn, judge this module's")
    parser.add_argument("--stages", type=int, default=len(STAGES), help="only the first of these")
    parser.add_argument("--again", action="store_true", help="only what survived the last run")
    options = parser.parse_args(arguments)
    if old := stale(excuses(root / "tests" / "mutants_excused.toml"), root):
        raise BadRun(f"excused, but not in the package: {'; '.join(old)}")
    names = modules(root, options.graders)
    sources = {name: path_of(root, name).read_text("utf-8") for name in names}
    drawn = draw(sources, options.number, options.seed)
    drawn = [m for m in drawn if options.only in (None, stem_of(m.module))]
    print(f"{len(drawn)} mutants of {len(names)} modules, seed {options.seed}")
    build, name = root / "build", "mutants_of_graders" if options.graders else "mutants"
    build.mkdir(exist_ok=True)
    memory, kept = build / f"{name}.json", {}
    if options.again and memory.exists():
        kept = json.loads(memory.read_text("utf-8"))
    warm_up()
    verdicts = []
    for verdict in judge(drawn, Suite(root, options.stages), kept):
        verdicts.append(verdict)
        memory.write_text(json.dumps(kept), "utf-8")
    (build / f"{name}.md").write_text(report(verdicts, options.seed), "utf-8")
    print(report(verdicts, options.seed))
    return int(any(v.fate == "survived" for v in verdicts))


if __name__ == "__main__":
    sys.exit(main())
