"""What committed notebooks say: numbers given in their code, numbers printed in their outputs.

A printed number is borne out by an interval where the whole interval lies within half a unit of its
last digit; a bound, printed after ``<=``, where the whole interval lies under it.
"""

import ast
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from tools import notebooks
from tools.intervals import Interval, number

NUMBER = re.compile(r"(?<![\w.])(<= )?([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)(?!\w)")
Values = list[Any]  # of intervals; None where a number is not certified


# --- what a notebook says -----------------------------------------------------------------------


@cache
def _cells(slug: str) -> dict[str, dict[str, Any]]:
    (path,) = notebooks.numbered(slug)
    return {cell["id"]: cell for cell in json.loads(path.read_text("utf-8"))["cells"]}


def cell_of(where: str) -> dict[str, Any]:
    """The cell at ``slug#id``, as stored."""
    slug, _, id = where.partition("#")
    if id not in _cells(slug):
        raise KeyError(f"expected a cell {id} in {slug}")
    return _cells(slug)[id]


def given(where: str, name: str) -> Any:
    """The value that a cell assigns to a name: its decimals, exactly, as intervals in lists."""
    source = "".join(cell_of(where)["source"])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign):
            for target, value in _pairs(node.targets[0], node.value):
                if isinstance(target, ast.Name) and target.id == name:
                    return _read(value, source)
    raise KeyError(f"expected {name} to be assigned in {where}")


def _pairs(target: ast.expr, value: ast.expr) -> Iterable[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return zip(target.elts, value.elts, strict=True)
    return [(target, value)]


def _read(node: ast.expr, source: str) -> Any:
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_read(x, source) for x in node.elts]
    if isinstance(node, ast.Call):  # of np.array or torch.tensor, or of np.full
        *size, value = node.args
        read = _read(value, source)
        return [read] * ast.literal_eval(size[0]) if size else read
    if isinstance(node, ast.UnaryOp):
        return -_read(node.operand, source)
    if isinstance(node, ast.BinOp):  # of a division
        return _read(node.left, source) / _read(node.right, source)
    return number(ast.get_source_segment(source, node))


def text_of(cell: dict[str, Any]) -> str:
    """What a cell printed, as plain text."""
    texts = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        texts.append("".join(output.get("text", data.get("text/plain", ""))))
    return "\n".join(texts)


@dataclass(frozen=True)
class Printed:
    """A printed number: where it stands in the text, its value, half a unit of its last digit."""

    start: int
    text: str
    half: Fraction
    is_bound: bool

    def holds(self, true: Interval) -> bool:
        """Whether that is the true value's rounding, or a bound on it."""
        low, high = true.ends
        value = Fraction(self.text)
        if self.is_bound:
            return high <= value
        return value - self.half <= low and high <= value + self.half


def printed(text: str, only: Iterable[str] = ("",)) -> list[Printed]:
    """The numbers in those lines of a text that contain one of the words.

    NumPy drops zeros at the end: numbers in one pair of brackets have the digits of the finest.
    """
    found, start = [], 0
    for line in text.splitlines(keepends=True):
        if any(word in line for word in only):
            for match in NUMBER.finditer(line):
                unit = min(map(_unit, _beside(line, match)))
                place = start + match.start(2)
                found.append(Printed(place, match[2], unit / 2, bool(match[1])))
        start += len(line)
    return found


def _beside(line: str, match: re.Match[str]) -> list[str]:
    """The number, and those in the same brackets."""
    before, behind = line[: match.start()], line[match.end() :]
    inside = before.rfind("[") > before.rfind("]")
    row = before[before.rfind("[") :] + match[0] + behind.partition("]")[0]
    return [x[2] for x in NUMBER.finditer(row)] if inside else [match[2]]


def _unit(text: str) -> Fraction:
    """One unit of the last digit."""
    return Fraction(10) ** int(Decimal(text).as_tuple().exponent)


# --- figures ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """Printed numbers, and how to enclose the true ones.

    ``values()`` has one entry for each number in the lines with one of the words `only`.
    """

    name: str
    where: str
    values: Callable[[], Values]
    only: tuple[str, ...]

    @property
    def slug(self) -> str:
        """Of the notebook."""
        return self.where.partition("#")[0]

    @property
    def id(self) -> str:
        """Of the cell."""
        return self.where.partition("#")[2]

    def enclosed(self, text: str | None = None) -> list[tuple[Printed, Interval]]:
        """The printed numbers with their enclosures, of the committed output or another text."""
        text = text_of(cell_of(self.where)) if text is None else text
        found, true = printed(text, self.only), self.values()
        if len(found) != len(true):
            raise ValueError(f"{self.where}: expected {len(true)} numbers, got {len(found)}")
        return [(p, number(t)) for p, t in zip(found, true, strict=True) if t is not None]

    def flaws(self, text: str | None = None) -> list[str]:
        """The printed numbers that their enclosures do not bear out."""
        return [
            f"{self.where}: {p.text} is printed, the true value is in {t}"
            for p, t in self.enclosed(text)
            if not p.holds(t)
        ]
