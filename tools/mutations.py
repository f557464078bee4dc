"""Every way to break one token of a Python source: operators, comparisons, constants, reductions.

Messages are left alone: what only an exception, an f-string or a ``__repr__`` says is not a
formula. So are the known mistakes of a grader, a dictionary by sentences: they are wrong already,
and the tests hand them in as they stand.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

SYMBOLS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.And: "and",
    ast.Or: "or",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.USub: "-",
    ast.Not: "not",
    ast.Invert: "~",
}
SWAPS = {
    "+": ["-"],
    "-": ["+"],
    "*": ["/"],
    "/": ["*"],
    "//": ["%"],
    "%": ["//"],
    "**": ["*"],
    "@": ["*"],
    "&": ["|"],
    "|": ["&"],
    "and": ["or"],
    "or": ["and"],
    "<": ["<=", ">="],
    "<=": ["<", ">"],
    ">": [">=", "<="],
    ">=": [">", "<"],
    "==": ["!="],
    "!=": ["=="],
    "is": ["is not"],
    "is not": ["is"],
    "in": ["not in"],
    "not in": ["in"],
}
PAIRS = [("any", "all"), ("min", "max"), ("argmin", "argmax"), ("amin", "amax")]
PAIRS += [("minimum", "maximum"), ("sum", "mean")]
REDUCTIONS = dict(PAIRS) | {new: old for old, new in PAIRS}
SPOKEN = re.compile(r"__(repr|str)__|_repr_\w+_")
GAP = re.compile(rb"(?:[\s)\\]|#[^\n]*)*")


@dataclass(frozen=True)
class Mutation:
    """One replacement in one module, ``start`` and ``end`` in bytes of its source."""

    module: str
    start: int
    end: int
    old: str
    new: str
    line: str
    lineno: int
    nth: int = 1

    @property
    def name(self) -> str:
        """What is done to the line; the number tells equal tokens of a line apart."""
        return f"{self.old or 'nothing'} -> {self.new or 'nothing'}" + f" ({self.nth})" * (
            self.nth > 1
        )

    @property
    def key(self) -> tuple[str, str, str]:
        """How an excuse names it: the module, the line's text, the mutation."""
        return self.module, self.line, self.name

    def apply(self, source: str) -> str:
        """The source with the one replacement."""
        raw = source.encode()
        return (raw[: self.start] + self.new.encode() + raw[self.end :]).decode()


def mutations(source: str, module: str) -> list[Mutation]:
    """Every mutation of a source, from top to bottom."""
    raw, lines = source.encode(), source.encode().split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    seen: Counter[tuple[int, str]] = Counter()
    found = []
    for lineno, start, end, news in sorted(Places(raw, starts).of(ast.parse(source))):
        old = raw[start:end].decode().strip()
        seen[lineno, old] += 1
        line, nth = lines[lineno - 1].decode().strip(), seen[lineno, old]
        found += [Mutation(module, start, end, old, new, line, lineno, nth) for new in news]
    return found


class Places:
    """Where the mutable tokens of a parsed source stand: ``(line, start, end, replacements)``."""

    def __init__(self, raw: bytes, starts: list[int]) -> None:
        self.raw, self.starts = raw, starts

    def of(self, node: ast.AST, messages: frozenset[str] = frozenset()) -> Iterator[tuple]:
        """The places in a node and below it, messages and annotations left out."""
        if isinstance(node, ast.FunctionDef):
            messages = only_said(node)
        if says(node, messages):
            return
        yield from self.here(node)
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        yield from self.of(child, messages)

    def here(self, node: ast.AST) -> Iterator[tuple]:
        """The places of the node itself."""
        match node:
            case ast.BinOp(left=left, op=op, right=_):
                yield from self.between(left, op)
            case ast.AugAssign(target=target, op=op):
                yield from self.between(target, op)
            case ast.BoolOp(op=op, values=values):
                for value in values[:-1]:
                    yield from self.between(value, op)
            case ast.Compare(left=left, ops=ops, comparators=others):
                for before, op in zip([left, *others], ops, strict=False):
                    yield from self.between(before, op)
            case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert() as op):
                start = self.at(node.lineno, node.col_offset)
                length = len(SYMBOLS[type(op)]) + isinstance(op, ast.Not)
                yield node.lineno, start, start + length, ("",)
            case ast.Constant(value=bool() | int() | float()):
                start = self.at(node.lineno, node.col_offset)
                end = self.at(node.end_lineno, node.end_col_offset)
                yield node.lineno, start, end, others_than(self.raw[start:end].decode(), node.value)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name) as called):
                if name in REDUCTIONS and (isinstance(called, ast.Attribute) or name != "sum"):
                    end = self.at(called.end_lineno, called.end_col_offset)
                    yield called.end_lineno, end - len(name), end, (REDUCTIONS[name],)

    def between(self, left: ast.expr, op: ast.AST) -> Iterator[tuple]:
        """The place of an operator: the first thing after its left side but brackets."""
        symbol = SYMBOLS.get(type(op), "")
        if symbol in SWAPS:
            start = GAP.match(self.raw, self.at(left.end_lineno, left.end_col_offset)).end()
            lineno = self.raw.count(b"\n", 0, start) + 1
            words = rb"\s+".join(re.escape(word.encode()) for word in symbol.split())
            yield lineno, start, re.compile(words).match(self.raw, start).end(), (*SWAPS[symbol],)

    def at(self, lineno: int, column: int) -> int:
        """Lines and columns as `ast` counts them, in bytes from the start."""
        return self.starts[lineno - 1] + column


def others_than(text: str, value: bool | int | float) -> tuple[str, ...]:
    """What stands instead of a constant: one more, one less; half the exponent of a tolerance."""
    if isinstance(value, bool):
        return (str(not value),)
    if isinstance(value, int):
        return str(value + 1), str(value - 1)
    if "e" in text:
        digits, exponent = text.split("e")
        return (f"{digits}e{int(int(exponent) / 2)}",)
    return (repr(value + 1),)


def only_said(function: ast.FunctionDef) -> frozenset[str]:
    """Names of a function that nothing reads but what it raises."""
    stored = {n.id for n in ast.walk(function) if is_name(n, ast.Store)}
    raised = [n for n in ast.walk(function) if isinstance(n, ast.Raise)]
    told = Counter(n.id for r in raised for n in ast.walk(r) if is_name(n, ast.Load))
    read = Counter(n.id for n in ast.walk(function) if is_name(n, ast.Load))
    return frozenset(name for name in stored if read[name] and told[name] == read[name])


def is_name(node: ast.AST, context: type) -> bool:
    """Whether a node is a name that is read, or one that is bound."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, context)


def says(node: ast.AST, messages: frozenset[str]) -> bool:
    """Whether a node is there to tell a reader something."""
    match node:
        case ast.Raise() | ast.JoinedStr():
            return True
        case ast.FunctionDef(name=name):
            return bool(SPOKEN.fullmatch(name))
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in messages
        case ast.Dict(keys=keys):
            return any(is_sentence(key) for key in keys)
    return False


def is_sentence(node: ast.AST | None) -> bool:
    """Whether a node is a text of several words with a full stop or a question mark."""
    text = node.value if isinstance(node, ast.Constant) else None
    return isinstance(text, str) and bool(re.search(r" .*[.?]$", text))
