"""The process that runs a hand-in: it answers `tools.judge`, and nothing it says is believed.

It reads a question a line from its standard input and writes an answer a line: the first question
brings the numbers of the tasks, the others run a cell, fetch a value, call a function of the
answer, or ask for gradients of what such a call gave. It never sees a grader.
"""

import contextlib
import io
import json
import os
import sys
import types
import warnings
from typing import Any

import numpy as np

from tools import plain

GIGABYTE = 2**30
LONGEST_TEXT = 10_000  # characters that a cell may print
MOST_WARNINGS = 5
READY = "ready"


def limit_resources(seconds: int = 600, memory: int = 4 * GIGABYTE, processes: int = 2000) -> None:
    """Bound processor seconds, bytes of memory and of a file, and processes; not on Windows."""
    try:
        import resource
    except ImportError:
        return
    bounds = {"CPU": seconds, "DATA": memory, "FSIZE": GIGABYTE // 8, "CORE": 0, "NPROC": processes}
    for name, bound in bounds.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(kind, (bound, bound))


def shell() -> Any:
    """What runs cells as a notebook does, without a kernel."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):  # type: ignore[misc]
        def enable_gui(self, gui: Any = None) -> None:
            """Nothing: nobody looks."""

    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor"
    return Shell.instance(config=settings)


class Question:
    """What the module `grader` has here for a task: its numbers, and a check that says nothing."""

    def __init__(self, given: dict[int, Any]) -> None:
        self._given = given

    def given(self, variant: int = 0) -> Any:
        """The numbers that the question gives."""
        return self._given[variant]

    def check(self, answer: Any, variant: int = 0) -> None:
        """Nothing: judged is elsewhere."""


class Desk:
    """Cells, run in a shell, and the functions that they made."""

    def __init__(self, questions: dict[str, Any]) -> None:
        self.shell = shell()
        self.functions: list[Any] = []
        self.graphs: list[Any] = []
        stub = types.ModuleType("grader")
        for name, given in questions.items():
            setattr(stub, name, Question({int(v): plain.read(data) for v, data in given.items()}))
        sys.modules["grader"] = stub

    def run(self, source: str) -> dict[str, Any]:
        """What a cell prints, and the error that ended it."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            result = self.shell.run_cell(source)
        error = result.error_before_exec or result.error_in_exec
        said = error and f"{type(error).__name__}: {error}"[:LONGEST_TEXT]
        return {"text": printed.getvalue()[:LONGEST_TEXT], "error": said}

    def value(self, name: str) -> dict[str, Any]:
        """What stands under a name; nothing stands for None."""
        return {"value": plain.written(self.shell.user_ns.get(name), self.functions)}

    def call(self, number: int, arguments: list[Any], keywords: dict[str, Any]) -> dict[str, Any]:
        """What a function gives, the arguments after the call, and what it warned of."""
        given = [plain.read(data) for data in arguments]
        named = {name: plain.read(data) for name, data in keywords.items()}
        sink = io.StringIO()
        quiet = contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink)
        with quiet[0], quiet[1], warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            with np.errstate(over="warn", divide="warn", invalid="warn", under="ignore"):
                value = self.functions[number](*given, **named)
        reply = {"value": plain.written(value, self.functions)}
        if getattr(value, "requires_grad", False):
            self.graphs.append((value, [x for x in given if getattr(x, "requires_grad", False)]))
            reply["graph"] = len(self.graphs) - 1
        reply["after"] = [plain.written(x, []) for x in (given, named)]
        reply["warnings"] = [str(w.message)[:200] for w in heard[:MOST_WARNINGS]]
        return reply

    def back(self, graph: int, cotangent: Any) -> dict[str, Any]:
        """The gradients of what a call gave, weighted by `cotangent`."""
        import torch

        value, inputs = self.graphs[graph]
        weights = plain.read(cotangent).to(value.dtype)
        slopes = torch.autograd.grad(
            value, inputs, weights, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return {"value": plain.written([x.detach() for x in slopes], [])}


def answered(desk: Desk, question: dict[str, Any]) -> dict[str, Any]:
    """The reply to a question, or what it raised."""
    try:
        return getattr(desk, question.pop("do"))(**question)
    except BaseException as error:  # also what would end this process
        return {"raises": [type(error).__name__, str(error)[:LONGEST_TEXT]]}


def main() -> None:
    """Answer until the questions end."""
    questions, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    limit_resources()
    desk = Desk(json.loads(questions.readline()))
    print(json.dumps(READY), file=replies)
    for line in questions:
        print(json.dumps(answered(desk, json.loads(line))), file=replies)


if __name__ == "__main__":
    main()
