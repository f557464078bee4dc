"""Judge hand-ins: the answers run in a process of their own, and only plain data come from there.

python -m tools.judge 5_train_it ada.ipynb bob.ipynb               points and sentences
python -m tools.judge 5_train_it ada.ipynb --course exercises-17   of a variant of the course

Three processes: this one reads notebooks and holds the points; a judge has the grader and runs no
line of a hand-in; a desk (`tools.desk`) runs the hand-in and nothing else, inside bubblewrap where
that is installed. Who hangs or dies is ended, and loses the step it was at.
"""

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import numpy as np
from nbformat import NotebookNode

from tools import desk, exercises, notebooks, plain

STEP_SECONDS, HAND_IN_SECONDS, START_SECONDS = 60.0, 300.0, 120.0
LONGEST_REPLY, MOST_TEXT = 2**24, 10**6  # characters: of a reply, and of all that a hand-in prints
UNCONFINED = (
    "There is no bubblewrap here: answers run in a process of their own, without the grader and "
    "the points in it, but they can read and write your files and use the network."
)


class Lost(BaseException):
    """The desk is gone; no grader may take this for an error of the answer."""


@dataclass(frozen=True)
class Asked:
    """What a test asks: a task of the grader, about an answer, in a variant."""

    task: str
    answer: str
    variant: int = 0


@dataclass(frozen=True)
class Ran:
    """What a cell printed, and the error that ended it."""

    text: str
    error: str | None


# A step is code to run, or a test; its result is what the code printed, or why points are lost.
Steps = Mapping[int, str | Asked]
Results = dict[int, Ran | str | None]

# --- where answers run --------------------------------------------------------------------------


@cache
def is_confining() -> bool:
    """Whether bubblewrap is here and works."""
    if shutil.which("bwrap") is None:
        return False
    tried = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    return subprocess.run(tried, capture_output=True).returncode == 0


def surroundings(home: str) -> dict[str, str]:
    """The environment of a desk: nothing of ours but the way to Python and what it may import."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    return (
        kept
        | single
        | {
            "HOME": home,
            "LOGNAME": "student",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "PYTHONPATH": str(notebooks.ROOT),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore:FigureCanvasAgg is non-interactive",
            "LANG": "C.UTF-8",
            "MPLBACKEND": "agg",
            "MPLCONFIGDIR": str(notebooks.BUILD / "matplotlib"),
        }
    )


def confined(command: list[str]) -> list[str]:
    """A command that sees Python, `dpo_edu` and the desk, writes only to memory, and no network."""
    seen = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives"]
    seen += [sys.base_prefix, sys.prefix, str(notebooks.BUILD / "matplotlib")]
    ours = ["dpo_edu", "tools/__init__.py", "tools/desk.py", "tools/plain.py"]
    seen += [str(notebooks.ROOT / name) for name in ours]
    binds = [word for path in seen for word in ("--ro-bind-try", path, path)]
    alone = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    room = ["--proc", "/proc", "--dev", "/dev", "--size", str(2**28), "--tmpfs", "/tmp"]
    return ["bwrap", *alone, *room, *binds, "--chdir", "/tmp", *command]


class Desk:
    """A process that runs a hand-in; whatever it replies is data."""

    def __init__(self, questions: dict[str, Any], *, confine: bool) -> None:
        command = [sys.executable, "-P", "-s", "-m", "tools.desk"]
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            confined(command) if confine else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # or an answer could reach our terminal through it
            cwd=self._home.name,
            env=surroundings("/tmp" if confine else self._home.name),
            encoding="utf-8",
            errors="replace",
        )
        self._room = MOST_TEXT
        self._send(questions)
        if self._process.stdout.readline(80) != f'"{desk.READY}"\n':
            raise RuntimeError("the desk does not start")

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent yet
                stream.close()
        self._home.cleanup()

    def _send(self, message: object) -> None:
        try:
            print(json.dumps(message), file=self._process.stdin, flush=True)
        except OSError:
            raise Lost from None

    def ask(self, do: str, **question: Any) -> dict[str, Any]:
        """The reply to a question.

        Raises
        ------
        Lost
            If the process is gone.
        Exception
            What the answer raised, by name.
        plain.NotPlain
            If the reply is none.
        """
        self._send({"do": do, **question})
        line = self._process.stdout.readline(LONGEST_REPLY)
        if not line.endswith("\n"):  # it is gone, or says too much
            raise Lost
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            raise plain.NotPlain("it cannot be handed over (no reply)") from None
        if not isinstance(reply, dict):
            raise plain.NotPlain("it cannot be handed over (no reply)")
        if "raises" in reply:
            name, said = map(str, reply["raises"])
            raise raised(name, said)
        return reply

    def run(self, source: str) -> Ran:
        """What a cell prints, and the error that ended it."""
        try:
            reply = self.ask("run", source=source)
        except Exception as error:
            return Ran("", f"{type(error).__name__}: {error}")
        text = readable(reply.get("text"))[: min(self._room, desk.LONGEST_TEXT)]
        self._room -= len(text)
        error = reply.get("error")
        return Ran(text, None if error is None else readable(error)[: desk.LONGEST_TEXT])

    def value(self, name: str) -> Any:
        """What stands under a name."""
        return self._read(self.ask("value", name=name).get("value"))

    def _read(self, data: plain.Json) -> Any:
        return plain.read(data, self._function)

    def _function(self, number: int, is_stub: bool, borrowed: str) -> Any:
        def elsewhere(*arguments: Any, **keywords: Any) -> Any:
            return self.call(number, arguments, keywords)

        elsewhere.is_stub, elsewhere.borrowed = is_stub, borrowed
        return elsewhere

    def call(self, number: int, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """What a function of the answer gives; it warns and changes its arguments as that does."""
        reply = self.ask(
            "call",
            number=number,
            arguments=[plain.written(x, []) for x in arguments],
            keywords={name: plain.written(x, []) for name, x in keywords.items()},
        )
        for said in list(reply.get("warnings", []))[: desk.MOST_WARNINGS]:
            warnings.warn(str(said)[:200], RuntimeWarning, stacklevel=2)
        after = plain.read(reply.get("after"))
        change(arguments, keywords, after)
        value = self._read(reply.get("value"))
        if "graph" in reply:
            return self._differentiable(value, int(reply["graph"]), arguments)
        return value

    def _differentiable(self, value: Any, graph: int, arguments: Sequence[Any]) -> Any:
        """The value, with gradients that are asked for where the graph is."""
        import torch

        inputs = [x for x in arguments if isinstance(x, torch.Tensor) and x.requires_grad]
        if not isinstance(value, torch.Tensor) or not inputs:
            return value

        class Elsewhere(torch.autograd.Function):
            @staticmethod
            def forward(context: Any, *_: Any) -> Any:
                return value.detach().clone()

            @staticmethod
            def backward(context: Any, *weights: Any) -> Any:
                slopes = self.ask("back", graph=graph, cotangent=plain.written(weights[0], []))
                return tuple(plain.read(slopes.get("value")))

        return Elsewhere.apply(*inputs)


def readable(text: object) -> str:
    """A text that every file can hold."""
    return str(text).encode("utf-8", "replace").decode("utf-8")


def one_line(text: str) -> str:
    """A text that cannot pass for the lines after it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def raised(name: str, said: str) -> Exception:
    """An error under the name that it had elsewhere."""
    kind = name if re.fullmatch(r"[A-Za-z_]\w{0,60}", name) else "Exception"
    return type(kind, (Exception,), {})(readable(said)[: desk.LONGEST_TEXT])


def change(arguments: Sequence[Any], keywords: Mapping[str, Any], after: Any) -> None:
    """Do to the arguments what a call elsewhere did to their copies, so that a grader sees it."""
    if not (isinstance(after, list) and len(after) == 2 and isinstance(after[1], dict)):
        raise plain.NotPlain("it cannot be handed over (no reply)")
    pairs = [*zip(arguments, after[0], strict=True)]
    pairs += [(given, after[1].get(name)) for name, given in keywords.items()]
    for given, new in pairs:
        if isinstance(given, list) and isinstance(new, list):
            given[:] = new
        elif isinstance(given, np.ndarray) and np.shape(new) == given.shape:
            given[...] = new
        elif hasattr(given, "requires_grad") and np.shape(new) == tuple(given.shape):
            given.data.copy_(new.data)


# --- the judge ----------------------------------------------------------------------------------


@cache
def grader_of(folder: Path) -> ModuleType:
    """The grader that lies in a folder."""
    spec = importlib.util.spec_from_file_location(f"grader_of_{folder.name}", folder / "grader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def questions(grader: ModuleType, variants: set[int]) -> dict[str, Any]:
    """What the desk knows of the tasks: the numbers that they give."""
    from dpo_edu.grading import Task

    tasks = {name: task for name, task in vars(grader).items() if isinstance(task, Task)}
    return {
        name: {str(v): plain.written(task.given(v), []) for v in variants}
        for name, task in tasks.items()
    }


def fault(grader: ModuleType, test: Asked, at: Desk) -> str | None:
    """Why an answer loses its points; None if it does not."""
    from dpo_edu.grading import Incorrect

    try:
        with warnings.catch_warnings(action="ignore"):
            getattr(grader, test.task).grade(at.value(test.answer), variant=test.variant)
    except Incorrect as error:
        return str(error)
    except plain.NotPlain as error:
        return f"{test.task}: {error}."
    except Exception as error:  # an answer that no grader foresaw
        return f"{test.task}: the test stopped at {type(error).__name__}: {error}."
    return None


def serve(pipe: Connection) -> None:
    """Be the judge: take hand-ins, say before each step which it is, and after it the result."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # so that the desk can be ended with it
    desk.limit_resources(seconds=24 * 3600)
    with contextlib.suppress(EOFError):
        while True:
            folder, steps, confine = pipe.recv()
            grader = grader_of(folder)
            variants = {0} | {step.variant for step in steps.values() if isinstance(step, Asked)}
            with Desk(questions(grader, variants), confine=confine) as at:
                for place, step in steps.items():
                    pipe.send(("begin", place, None))
                    try:
                        run = isinstance(step, str)
                        result = at.run(step) if run else fault(grader, step, at)
                    except Lost:
                        pipe.send(("lost", place, None))
                        break
                    pipe.send(("result", place, result))
            pipe.send(("end", -1, None))


class Judge:
    """Judges hand-ins one after the other; a judge that hangs or dies is replaced."""

    def __init__(
        self, *, step: float = STEP_SECONDS, whole: float = HAND_IN_SECONDS, confine: bool = True
    ) -> None:
        self.step, self.whole, self.confine = step, whole, confine
        self._process: Any = None

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is None:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._process = None

    def _start(self) -> None:
        if self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()

    def results(self, folder: Path, steps: Steps) -> Results:
        """The result of every step, with the grader in a folder.

        A step that does not end, or that ends the process, is lost; the others are done again
        without it, tests that were judged already excepted.
        """
        found: Results = {}
        lost: set[int] = set()
        end = time.monotonic() + self.whole
        while any(isinstance(step, Asked) and n not in found for n, step in steps.items()):
            todo = {n: step for n, step in steps.items() if n not in lost}
            todo = {n: s for n, s in todo.items() if not (isinstance(s, Asked) and n in found)}
            self._start()
            self._pipe.send((folder, todo, self.confine and is_confining()))
            for place, why in self._rest(found, end):
                lost.add(place)
                is_test = isinstance(steps[place], Asked)
                found[place] = f"{steps[place].task}: {why}" if is_test else Ran("", why)
            if time.monotonic() >= end:
                break
        over = f"no time was left: a hand-in has {self.whole:.0f} seconds."
        for place, step in steps.items():
            if place not in found:
                found[place] = f"{step.task}: {over}" if isinstance(step, Asked) else Ran("", over)
        return found

    def _rest(self, found: Results, end: float) -> Iterator[tuple[int, str]]:
        """Take results until there are no more; the step that was lost, and why."""
        current: int | None = None
        while True:
            left = START_SECONDS if current is None else min(self.step, end - time.monotonic())
            try:
                if not self._pipe.poll(max(left, 0)):
                    why = f"it does not end: a step has {self.step:.0f} seconds."
                    break
                what, place, result = self._pipe.recv()
            except (EOFError, OSError):
                why = "it ended the process that judges, or took all memory."
                break
            if what == "end":
                return
            if what == "lost":
                yield place, "it ended its process, or took all memory."
            elif what == "result":
                found[place] = result
            current = place
        self._end()
        if current is None:
            raise RuntimeError("the judge does not start")
        yield current, why


# --- notebooks ----------------------------------------------------------------------------------


def tests_of(source: NotebookNode) -> dict[str, tuple[Asked, float]]:
    """What the tests of an assignment ask and how many points they give, by their names."""
    found = {}
    for cell in source.cells:
        about = cell.metadata.get("nbgrader", {})
        if test_name(cell):
            pattern = r"grader\.(\w+)\.grade\((\w+)(?:, variant=(\d+))?\)"
            task, answer, variant = re.search(pattern, cell.source).groups()
            test = Asked(task, answer, int(variant or 0))
            found[about["grade_id"]] = test, float(about["points"])
    return found


def steps_of(notebook: NotebookNode, tests: Mapping[str, Asked]) -> dict[int, str | Asked]:
    """The cells of a hand-in that are run or judged, by their places.

    Of a cell that calls itself a test only the name is taken: what it asks stands with the teacher.
    """
    steps: dict[int, str | Asked] = {}
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        name = test_name(cell)
        if name is None:
            steps[place] = str(cell.source)
        elif name in tests:
            steps[place] = tests[name]
    return steps


def test_name(cell: NotebookNode) -> str | None:
    """What a test is called; None for a cell that is none, such as an answer graded by hand."""
    about = cell.metadata.get("nbgrader")
    is_test = isinstance(about, dict) and about.get("grade") and not about.get("solution")
    return str(about.get("grade_id")) if is_test else None


def points_by_hand(source: NotebookNode) -> float:
    """The points of an assignment's answers that a person grades."""
    marks = [cell.metadata.get("nbgrader", {}) for cell in source.cells]
    return float(sum(m["points"] for m in marks if m.get("grade") and m.get("solution")))


def points(judge: Judge, folder: Path, path: Path) -> Iterator[tuple[float, float, str]]:
    """For each task of an assignment: points, possible points, and the sentence."""
    (source,) = folder.glob("*.ipynb")
    tests = tests_of(notebooks.read(source))
    steps = steps_of(notebooks.read(path), {name: test for name, (test, _) in tests.items()})
    results = {steps[n]: said for n, said in judge.results(folder, steps).items()}
    for test, possible in tests.values():
        said = results.get(test, f"{test.task}: its test is not in the notebook.")
        yield 0 if said else possible, possible, said or f"{test.task}: right."


def main(arguments: list[str] | None = None) -> int | str:
    """Print the points and the sentences for hand-ins."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("assignment", help="such as 5_train_it")
    parser.add_argument("file", nargs="+", type=Path, help="the notebooks handed in")
    parser.add_argument("--course", type=Path, default=exercises.EXERCISES, help="its folder")
    chosen = parser.parse_args(arguments)
    folder = chosen.course / "source" / chosen.assignment
    if not (folder / "grader.py").exists():
        return f"{folder} is no assignment: {', '.join(exercises.assignments(chosen.course))}."
    if not is_confining():
        print(UNCONFINED, file=sys.stderr)
    (source,) = folder.glob("*.ipynb")
    by_hand = points_by_hand(notebooks.read(source))
    with Judge() as judge:
        for path in chosen.file:
            try:
                tasks = list(points(judge, folder, path))
            except (OSError, ValueError, nbformat.ValidationError) as error:
                print(f"{one_line(path.name)}: no notebook ({type(error).__name__})")
                continue
            earned, possible = (sum(task[n] for task in tasks) for n in (0, 1))
            print(f"{one_line(path.name)}: {earned:g} of {possible:g}")
            for earned, possible, said in tasks:
                print(f"  {earned:g} of {possible:g}  {one_line(said)}")
            if by_hand:
                print(f"  {by_hand:g} more are given by hand")
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
