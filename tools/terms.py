"""Which technical words of a notebook stand there before anybody has explained them.

python -m tools.terms [--nb 05]

The words are those of docs/glossary.md. One is explained where it stands in *italics* or **bold**
or in a link to the glossary, in this room or in one before it on the road. Code, formulas, links,
headings and what is folded are left out.
"""

import argparse
import re
from collections.abc import Iterable
from functools import cache

from nbformat import NotebookNode

from tools import notebooks, reading

GLOSSARY = notebooks.ROOT / "docs" / "glossary.md"
ENTRY = re.compile(r"- \*\*(?P<term>[^*]+)\*\*( / (?P<forms>[^:]+))?: (?P<text>.+)")
ABBREVIATION = re.compile(r"\w*[A-Z]\w*[A-Z]\w*")
# Proper names, and abbreviations of no field in particular.
NAMES = {"BY", "CC", "CPU", "CPUs", "CVXPY", "GPT", "GPU", "GPUs", "HTML", "InstructGPT", "JSON"}
NAMES |= {"BradleyTerry2", "JupyterLab", "LR", "MT", "NumPy", "PyPI", "PyTorch", "SciPy"}
NAMES |= {"SmolLM2", "SymPy", "TOML", "US"}
# What is nobody's prose, each with what stays of it.
BLOCK = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->|<details>.*?</details>|<!--.*?-->", re.DOTALL)
NOT_PROSE = [
    (re.compile(r"```.*?```|\$\$.*?\$\$", re.DOTALL), " "),
    (re.compile(r"`[^`\n]*`|\$[^$]*\$"), " x "),
    (re.compile(r"(?m)^#.*$"), ""),
    (re.compile(r"(?m)^\*\*(Time|Claims|With checks|Next)\.\*\* .*$"), ""),
    (re.compile(r"(?m)^\*\*[\w ]+\.\*\*"), ""),  # **Question.** and the like
    (re.compile(r"!?\[([^\]]*)\]\([^)]*glossary\.md[^)]*\)"), r"**\1**"),
    (re.compile(r"!?\[[^\]]*\]\([^)]*\)|https?://\S+"), " "),
]
EMPHASIS = re.compile(r"(\*{1,3})(?=\S)([^*]+?)(?<=\S)\1")


def entries(text: str) -> dict[str, set[str]]:
    """Every term of a glossary with all its forms, itself included."""
    found = {}
    for match in ENTRY.finditer(text):
        forms = (match["forms"] or "").split(", ")
        found[match["term"]] = {match["term"], *filter(None, forms)}
    return found


@cache
def glossary() -> dict[str, set[str]]:
    """That of the suite."""
    return entries(GLOSSARY.read_text("utf-8"))


def plain(text: str) -> str:
    """Markdown without code, formulas, headings, links and what is folded or written by a tool.

    A link to the glossary is left as **bold**.
    """
    text = BLOCK.sub("", text)
    for pattern, stays in NOT_PROSE:
        text = pattern.sub(stays, text)
    return text


def prose(book: NotebookNode) -> str:
    """What a reader reads of a notebook without opening anything."""
    cells = [c.source for c in reading.open_cells(book) if c.cell_type == "markdown"]
    return plain("\n\n".join(cells))


def pattern(terms: dict[str, set[str]]) -> re.Pattern[str]:
    """Any form of any term as a whole word, one or many, the longest first."""
    forms = sorted({form for every in terms.values() for form in every}, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(loose, forms))})(?:s|es)?(?!\w)")


def loose(form: str) -> str:
    """A form in letters of either case, abbreviations apart, and with spaces or hyphens."""
    words = map(re.escape, re.split("[ -]", form))
    return r"[\s-]".join(w if ABBREVIATION.search(w) else f"(?i:{w})" for w in words)


def key(found: str) -> str:
    """What is found in a text, so that it can be looked up."""
    return re.sub(r"[\s-]+", " ", found).casefold()


def owners(terms: dict[str, set[str]]) -> dict[str, str]:
    """The term to which each form belongs, by its key, one or many."""
    forms = {key(form): term for term, every in terms.items() for form in every}
    many = {f"{form}{end}": term for form, term in forms.items() for end in ("s", "es")}
    return many | forms


def explained(text: str, terms: dict[str, set[str]]) -> set[str]:
    """The terms that stand in italics or bold in a text."""
    every, whose = pattern(terms), owners(terms)
    marked = " | ".join(match[2] for match in EMPHASIS.finditer(text))
    return {whose[key(match[0])] for match in every.finditer(marked)}


def unexplained(
    text: str, terms: dict[str, set[str]], before: Iterable[str] = ()
) -> dict[str, str]:
    """The terms that stand in a text before they are explained, each with the words around it.

    `before` are the terms that rooms before this one explain.
    """
    every, whose = pattern(terms), owners(terms)
    spans = [match.span(2) for match in EMPHASIS.finditer(text)]
    known, found = set(before), {}
    for match in every.finditer(text):
        term = whose[key(match[0])]
        if any(start <= match.start() < end for start, end in spans):
            known.add(term)
        elif term not in known:
            around = text[max(0, match.start() - 40) : match.end() + 40]
            found.setdefault(term, " ".join(around.split()))
    return found


def before(slug: str) -> list[str]:
    """The rooms that a reader has read: those before it on the road, or all of the road."""
    road, _ = notebooks.rooms()
    return road[: road.index(slug)] if slug in road else road


def known(slug: str) -> set[str]:
    """The terms that the rooms before this one explain."""
    paths = {notebooks.slug(path): path for path in notebooks.numbered()}
    rooms = [paths[room] for room in before(slug) if room in paths]
    texts = [prose(notebooks.read(path)) for path in rooms]
    return {term for text in texts for term in explained(text, glossary())}


def unlisted(text: str, terms: dict[str, set[str]]) -> set[str]:
    """The abbreviations of a text that are neither a glossary's nor a name."""
    forms = {word for every in terms.values() for form in every for word in words(form)} | NAMES
    return set(words(text)) - forms - {f"{form}s" for form in forms}


def words(text: str) -> list[str]:
    """All words that have two capitals or more."""
    return ABBREVIATION.findall(text)


def main() -> int:
    """Print the terms that stand unexplained."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nb", metavar="NN", help="only this notebook, such as 05")
    count = 0
    for path in notebooks.numbered(parser.parse_args().nb):
        text = prose(notebooks.read(path))
        found = unexplained(text, glossary(), known(notebooks.slug(path)))
        strange = unlisted(text, glossary())
        print(f"{path.stem}: {len(found)} unexplained, {len(strange)} not in the glossary")
        print(*(f"  {term}: … {around} …\n" for term, around in found.items()), sep="", end="")
        print(*(f"  not in the glossary: {word}\n" for word in sorted(strange)), sep="", end="")
        count += len(found) + len(strange)
    return int(count > 0)


if __name__ == "__main__":
    notebooks.ended(main)
