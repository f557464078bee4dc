"""A derivation in a browser: runs cells one after another and remembers the state before each.

It does what IPython does in a notebook: the last expression of a cell is shown, and so is what the
ledger displays. `install` puts its `display` where the ledger looks for IPython's.
"""

import ast
import io
import json
import sys
import types
from contextlib import redirect_stdout
from typing import Any


class Session(io.TextIOBase):
    """The names of a derivation as they were before each of its cells, and where it prints to."""

    def __init__(self) -> None:
        self.before: list[dict[str, Any]] = [{"__name__": "__main__"}]
        self.outputs: list[dict[str, str]] = []

    def run(self, place: int, source: str) -> str:
        """Run the cell of this place (from 0) after the ones before it: its outputs, as JSON.

        An output has a `kind` (shown, printed, failed, raised), its `text`, and where there is one
        its `html` or `latex`. A check that fails is told from an error of another kind; after
        either the state is the one before the cell.
        """
        names, self.outputs = dict(self.before[place]), []
        try:
            with redirect_stdout(self):
                self._execute(source, names)
        except Exception as error:
            self.outputs.append(_complaint(error))
            names = self.before[place]
        self.before[place + 1 :] = [names]
        return json.dumps(self.outputs, ensure_ascii=False)

    def _execute(self, source: str, names: dict[str, Any]) -> None:
        tree = ast.parse(source, "cell")
        last = tree.body[-1] if tree.body else None
        if not isinstance(last, ast.Expr):
            exec(compile(tree, "cell", "exec"), names)
            return
        del tree.body[-1]
        exec(compile(tree, "cell", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        if value is not None:
            self.display(value)

    def display(self, value: object) -> None:
        """Show a value by its own HTML or LaTeX, and by its text."""
        bundle: dict[str, str] = getattr(value, "_repr_mimebundle_", dict)()
        shown: dict[str, str | None] = {"kind": "shown"}
        shown |= {"text": bundle.get("text/plain", repr(value))}
        shown |= {"html": bundle.get("text/html"), "latex": _latex(value)}
        self.outputs.append({key: text for key, text in shown.items() if text})

    def write(self, text: str) -> int:
        """What is printed goes on with what was printed just before."""
        if not (self.outputs and self.outputs[-1]["kind"] == "printed"):
            self.outputs.append({"kind": "printed", "text": ""})
        self.outputs[-1]["text"] += text
        return len(text)


def _latex(value: Any) -> str | None:
    return value._repr_latex_() if hasattr(value, "_repr_latex_") else None


def _complaint(error: Exception) -> dict[str, str]:
    """A failed check in the ledger's words; another error with its kind and its line."""
    if type(error).__name__ == "ClaimFailed":
        return {"kind": "failed", "text": str(error)}
    lines = [error.lineno] if isinstance(error, SyntaxError) else _lines(error)
    where = f" (line {lines[-1]})" if lines else ""
    words = error.msg if isinstance(error, SyntaxError) else error
    return {"kind": "raised", "text": f"{type(error).__name__}: {words}{where}"}


def _lines(error: Exception) -> list[int]:
    """The lines of the cell through which an error came."""
    found, place = [], error.__traceback__
    while place:
        if place.tb_frame.f_code.co_filename == "cell":
            found.append(place.tb_lineno)
        place = place.tb_next
    return found[:1]


def install() -> Session:
    """A session that shows what the ledger displays."""
    session, page = Session(), types.ModuleType("IPython.display")
    page.__dict__["display"] = session.display
    sys.modules |= {"IPython": types.ModuleType("IPython"), page.__name__: page}
    return session
