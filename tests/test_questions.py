"""Every answer in docs/questions.md is short, with one number from the cell it links to."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tools import notebooks

DOCUMENT = notebooks.ROOT / "docs" / "questions.md"
TEXT = DOCUMENT.read_text("utf-8")
CELL = re.compile(r"\[[^\]]+\]\(\.\./notebooks/([\w.]+)#cell-id=([\w-]+)\)")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\d)")
WORDS = 60


class Entry(NamedTuple):
    """A question, or an error that is often written, with what stands below it."""

    heading: str
    body: str

    @property
    def answer(self) -> str:
        """The words of the answer, its links left out."""
        return CELL.sub("", self.body)


Cells = dict[tuple[str, str], NotebookNode]


def entries(text: str) -> list[Entry]:
    """The entries of a document; what stands between its sections is none."""
    parts = re.split(r"^#{1,2} .*$", text, flags=re.MULTILINE)
    headed = [piece for part in parts for piece in re.split(r"^### ", part, flags=re.MULTILINE)[1:]]
    return [
        Entry(heading, body) for heading, _, body in (piece.partition("\n") for piece in headed)
    ]


def cells() -> Cells:
    """Every cell by its notebook's file name and its id."""
    books = {path.name: notebooks.read(path) for path in notebooks.numbered()}
    return {(name, cell.id): cell for name, book in books.items() for cell in book.cells}


def printed(cell: NotebookNode) -> str:
    """What a reader sees of a cell: its sentences, or what its code printed."""
    if cell.cell_type == "markdown":
        return cell.source
    texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs]
    return "\n".join(re.sub(r"<Figure[^>]*>", "", text) for text in texts)


def numbers(text: str) -> Iterator[str]:
    """The numbers of a text as they stand there, without the commas of thousands."""
    for match in NUMBER.finditer(text.replace("−", "-")):
        yield match[0].replace(",", "")


def stands(number: str, text: str) -> bool:
    """Whether a text has a number, to the digits that are shown; whole numbers digit for digit."""
    if "." not in number or "e" in number:
        return any(float(found) == float(number) for found in numbers(text))
    digits = len(number.partition(".")[2])
    return any(f"{float(found):.{digits}f}" == number for found in numbers(text))


def flaws(text: str, known: Cells) -> list[str]:
    """What is wrong with the entries of a document."""
    found = []
    for entry in entries(text):
        links, answer = CELL.findall(entry.body), entry.answer
        if len(answer.split()) > WORDS:
            found.append(f"{entry.heading}: more than {WORDS} words")
        bold = [number for part in re.findall(r"\*\*(.+?)\*\*", answer) for number in numbers(part)]
        if len(bold) != 1:
            found.append(f"{entry.heading}: one bold number")
        if len(links) != 1 or entry.body.count("](") != 1:
            found.append(f"{entry.heading}: one link to a cell")
        elif links[0] not in known:
            found.append(f"{entry.heading}: no cell {links[0][1]} in {links[0][0]}")
        else:
            cell = known[links[0]]
            told = {number: printed(cell) for number in bold}
            others = [n for n in numbers(answer) if re.search(r"[.e]", n) and n not in told]
            told |= dict.fromkeys(others, f"{printed(cell)}\n{cell.source}")
            wrong = [number for number, text in told.items() if not stands(number, text)]
            found += [f"{entry.heading}: {number} is not in the cell" for number in wrong]
    return found


def test_every_answer_is_short_and_its_number_stands_in_its_cell() -> None:
    assert flaws(TEXT, cells()) == []


def test_there_are_answers_and_no_question_stands_twice() -> None:
    headings = [entry.heading for entry in entries(TEXT)]
    assert len(headings) > 40
    assert len(set(headings)) == len(headings)


def test_a_section_is_questions_or_statements_in_quotes() -> None:
    asked, _, written = TEXT.partition("## Often written, measured here")
    assert all(entry.heading.endswith("?") for entry in entries(asked))
    assert all(re.fullmatch('".+"', entry.heading) for entry in entries(written))
    assert all(re.match(r"\n\*[A-Z][^*]+\.\*\n", entry.body) for entry in entries(written))


def known() -> Cells:
    output = new_output("stream", text="loss 0.6931, mean 0.7171 of 1,500 pairs, -2 to 2.0e-01\n")
    code = new_code_cell("beta = 0.25", outputs=[output])
    return {("05_a.ipynb", "b"): code, ("05_a.ipynb", "c"): new_markdown_cell("It is 0.5.")}


LINK = "[05 A](../notebooks/05_a.ipynb#cell-id=b)"


@pytest.mark.parametrize(
    "answer",
    [
        f"It is **0.6931**.\n{LINK}",
        f"It is **0.69**, not 0.717, at 0.25.\n{LINK}",
        f"It is **−2**.\n{LINK}",
        f"It is **1,500** of 7.\n{LINK}",
        f"It is **0.20**.\n{LINK}",
        "It is **0.5**.\n[05 A](../notebooks/05_a.ipynb#cell-id=c)",
    ],
)
def test_a_right_answer_has_no_flaw(answer: str) -> None:
    assert flaws(f"# A\n\n## B\n\n### Q?\n\n{answer}\n", known()) == []


@pytest.mark.parametrize(
    ("answer", "flaw"),
    [
        (f"It is **0.6932**.\n{LINK}", "0.6932 is not in the cell"),
        (f"It is **0.25**.\n{LINK}", "0.25 is not in the cell"),
        (f"It is **2**.\n{LINK}", "2 is not in the cell"),
        (f"It is **0.6931**, not 0.7172.\n{LINK}", "0.7172 is not in the cell"),
        (f"It is 0.6931.\n{LINK}", "one bold number"),
        (f"It is **0.6931** or **0.7171**.\n{LINK}", "one bold number"),
        ("It is **0.6931**.", "one link to a cell"),
        (f"It is **0.6931**.\n{LINK} {LINK}", "one link to a cell"),
        (f"It is **0.6931**, see [B](b.md).\n{LINK}", "one link to a cell"),
        (f"It is **0.6931**.\n{LINK.replace('=b', '=gone')}", "no cell gone in 05_a.ipynb"),
        (f"It is **0.6931**.\n{LINK.replace('05_a', '06_a')}", "no cell b in 06_a.ipynb"),
        (f"It is **0.6931**. {'word ' * 60}\n{LINK}", "more than 60 words"),
    ],
)
def test_a_flaw_of_an_answer_is_found(answer: str, flaw: str) -> None:
    text = f"# A\n\n## B\n\n### Right?\n\nIt is **0.6931**.\n{LINK}\n\n### Wrong?\n\n{answer}\n"
    assert flaws(text, known()) == [f"Wrong?: {flaw}"]
