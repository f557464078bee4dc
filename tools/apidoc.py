"""The docstrings of the package as Sphinx reads them, with their formulas typeset.

Docstrings are written for terminals: formulas are plain text in double backquotes or in paragraphs
of their own, further to the right. Sphinx would take a star for emphasis and a bar for a
substitution.
"""

import re
from collections.abc import Iterable

from dpo_edu import _typeset

CODE = re.compile(r"(``[^`]+``|`[^`]+`|(?<![\w*])\*[^\s*](?:[^*\n]*[^\s*])?\*(?![\w*]))")
SYMBOL = re.compile(r"\b(?:pi|beta|theta|sigma|lambda)(?:_\w+|\*)(?:\([^)\s]*\))?")
FORMULA = re.compile(r"<su[bp]>|[α-ωΔΛΣ𝟙≤≥‖]")
SECTION = re.compile(r"-{3,}$")


def formula(text: str) -> str | None:
    """A formula as HTML, or None where the text is code.

    >>> formula("pi_ref exp(r/beta)"), formula("chosen_logps")
    ('π<sub>ref</sub> exp(r/β)', None)
    """
    typeset = _typeset.typeset(text)
    return typeset if FORMULA.search(typeset) else None


def escaped(text: str) -> str:
    """A line of prose without marks that mean something to Sphinx, formulas in it typeset."""
    parts = CODE.split(text)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            words = SYMBOL.split(part)
            rest = [re.sub(r"([*|\\]|_\b)", r"\\\1", word) for word in words]
            signs = [f"\\ :formula:`{formula(sign)}`\\ " for sign in SYMBOL.findall(part)]
            parts[place] = "".join(a + b for a, b in zip(rest, [*signs, ""], strict=True))
        elif part.startswith("``") and (typeset := formula(part.strip("`"))):
            parts[place] = f":formula:`{typeset.replace('`', '')}`"
    return "".join(parts)


def indent(line: str) -> int:
    """How far to the right a line begins."""
    return len(line) - len(line.lstrip())


def shown(block: list[str]) -> list[str]:
    """An indented paragraph: formulas as HTML, anything else as it is."""
    margin = min(map(indent, block))
    pad = " " * margin
    bare = [line[margin:] for line in block]
    if not all(formula(line) or not line.strip() for line in bare):
        return [f"{pad}::", "", *(f"    {line}" for line in block), ""]
    lines = "<br>".join(_typeset.typeset(re.sub(r" {2,}", " \u2003", line)) for line in bare)
    return [f"{pad[4:]}.. raw:: html", "", f"{pad}<p class='formula'>{lines}</p>", ""]


def sectioned(lines: Iterable[str]) -> list[str]:
    """A docstring whose source and examples begin sections, as those before them do.

    >>> sectioned(["Raises", "------", "ValueError", "", "Source: A."])[4:]
    ['Source', '------', 'A.']
    """
    found: list[str] = []
    heads = {"Source: ": "Source", ">>> ": "Examples"}
    inside = False
    for line in lines:
        inside = inside or bool(SECTION.match(line))
        begun = not found or not found[-1].strip()
        head = next((heads[start] for start in heads if line.startswith(start)), "")
        if inside and begun and head and head not in found:
            found += [head, "-" * len(head)]
            line = line.removeprefix("Source: ")
        found.append(line)
    return found


def restructured(lines: Iterable[str]) -> list[str]:
    """A docstring's lines for Sphinx."""
    found: list[str] = []
    every = sectioned(lines)
    place, above = 0, 0
    example = False
    while place < len(every):
        line = every[place]
        fresh = not found or not found[-1].strip()
        example = (example and bool(line.strip())) or line.lstrip().startswith(">>>")
        table = line.startswith("==")
        if line.strip() and fresh and place and indent(line) > above and not example:
            end = place
            while end < len(every) and every[end].strip():
                end += 1
            found += shown(every[place:end])
            place = end
            continue
        if line.strip():
            above = indent(line)
        keep = example or table or SECTION.match(line.strip())
        found.append(line if keep else escaped(line))
        place += 1
    return found


def process(app: object, what: str, name: str, obj: object, options: object, lines: list) -> None:
    """Rewrite a docstring in place, as Sphinx asks for it."""
    lines[:] = [".. role:: formula(raw)", "   :format: html", "", *restructured(lines)]


def page(module: str) -> str:
    """The page of a module in the reference."""
    name = f"dpo_edu.{module}"
    return f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :members:\n"
