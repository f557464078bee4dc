"""The first room explains lines of the ledger that other rooms print: they still print them."""

import html
import re

import pytest

from dpo_edu import ledger
from dpo_edu._typeset import typeset
from tools import notebooks

(START,) = notebooks.numbered("start_here")


def shown(evidence: ledger.Evidence) -> str:
    """A line as it stands on a notebook's page, without bold and italics."""
    page = evidence._repr_mimebundle_()["text/html"]
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def printed() -> set[str]:
    every = [ledger.evidence_in(notebooks.read(path)) for path in notebooks.numbered()]
    return {shown(evidence) for found in every for evidence in found}


def quoted(text: str) -> list[str]:
    return re.findall(r"`(\w+ (?:symbolic|numeric|trained|data), [^`]*)`", text)


def test_the_lines_explained_are_printed_by_the_rooms() -> None:
    (legend,) = [cell for cell in notebooks.read(START).cells if cell.id == "legend"]
    lines = quoted(legend.source)
    assert {line.partition(",")[0].split()[1] for line in lines} >= {"symbolic", "numeric", "data"}
    assert any("counterexample" in line for line in lines)
    assert set(lines) <= printed()


@pytest.mark.parametrize("line", ["G4 symbolic, holds: 1 = 1", "G4 symbolic, holds: nothing"])
def test_a_line_that_no_room_prints_is_found(line: str) -> None:
    assert quoted(f"Look: `{line}`.") == [line]
    assert line not in printed()


def test_a_line_is_shown_as_on_the_page() -> None:
    evidence = ledger.Evidence("G4", "S", "agrees", "found - expected = 0", "pi* < 1")
    assert shown(evidence) == "G4 symbolic, holds: found − expected = 0 (π* < 1)"
    assert typeset(evidence.note) == "π* &lt; 1"
