"""The glossary says each technical word once, and a room uses none before somebody explains it."""

import re
from itertools import pairwise

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from tools import notebooks, reading, terms

TEXT = terms.GLOSSARY.read_text("utf-8")
PATHS = {notebooks.slug(path): path for path in notebooks.numbered()}


def flaws(text: str) -> list[str]:
    """What is wrong with a glossary: its form, its order, its sentences, a form said twice."""
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    found = [f"form: {line}" for line in lines if not terms.ENTRY.fullmatch(line)]
    entries = [match for line in lines if (match := terms.ENTRY.fullmatch(line))]
    names = [re.sub(r"[^a-z0-9]", "", match["term"].casefold()) for match in entries]
    found += [f"order: {b}" for a, b in pairwise(names) if a > b]
    forms = [
        terms.key(form)
        for match in entries
        for form in [match["term"], *filter(None, (match["forms"] or "").split(", "))]
    ]
    found += [f"twice: {form}" for form in sorted(set(forms)) if forms.count(form) > 1]
    ends = {match["term"]: reading.SENTENCE.findall(match["text"]) for match in entries}
    return found + [f"one sentence: {term}" for term, end in ends.items() if end != ["."]]


def test_the_glossary_is_in_order() -> None:
    assert flaws(TEXT) == []
    assert len(terms.glossary()) > 70


@pytest.mark.parametrize(
    ("lines", "flaw"),
    [
        ("- **b**: one.\n- **a**: two.", "order: a"),
        ("- **a**: one.\n- **a**: two.", "twice: a"),
        ("- **a** / Bee: one.\n- **bee**: two.", "twice: bee"),
        ("- **a**: one. Two.", "one sentence: a"),
        ("- **a**: one", "one sentence: a"),
        ("- a: one.", "form: - a: one."),
    ],
)
def test_a_flaw_of_a_glossary_is_found(lines: str, flaw: str) -> None:
    assert flaws(lines) == [flaw]


@pytest.mark.parametrize("slug", PATHS)
def test_every_abbreviation_is_in_the_glossary(slug: str) -> None:
    text = terms.prose(notebooks.read(PATHS[slug]))
    assert terms.unlisted(text, terms.glossary()) == set()


@pytest.mark.parametrize("slug", PATHS)
def test_no_term_stands_before_it_is_explained(slug: str) -> None:
    text = terms.prose(notebooks.read(PATHS[slug]))
    assert terms.unexplained(text, terms.glossary(), terms.known(slug)) == {}


# --- the rule itself ----------------------------------------------------------------------------

SMALL = terms.entries(
    "- **KL divergence** / KL: x.\n- **policy**: x.\n- **reference policy** / reference: x.\n"
    "- **log-ratio**: x.\n- **loss**: x."
)


def test_entries_are_read_with_their_forms() -> None:
    assert SMALL["KL divergence"] == {"KL divergence", "KL"}
    assert SMALL["policy"] == {"policy"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A policy is here.", {"policy"}),
        ("Policies differ, and the losses.", {"loss"}),  # an unusual plural is a form of its own
        ("The KL of it.", {"KL divergence"}),
        ("The kl of it.", set()),
        ("Log-ratios, log\nratio.", {"log-ratio"}),
        ("A reference policy.", {"reference policy"}),  # and not also a policy
        ("A policymaker, a non-policy.", set()),
        ("A *policy* is a table, and a policy has rows.", set()),
        ("A policy has rows: a *policy* is a table.", {"policy"}),
        ("A **reference** is a policy.", {"policy"}),
        ("A [policy](../docs/glossary.md) has rows. That policy.", set()),
        ("A [policy](01_x.ipynb) has rows.", set()),
        ("A [policy](01_x.ipynb) has rows. That policy.", {"policy"}),
        ("# A policy\n`policy` $policy$ $$policy$$ <details>policy</details>", set()),
        ("<!-- rooms -->\npolicy\n<!-- /rooms -->", set()),
        ("**Policy.** It is not explained by a label, that policy.", {"policy"}),
        ("**Claims.** policy.\n**Next.** Which policy?", set()),
        ("2 * 3 and 4 * policy", {"policy"}),
    ],
)
def test_a_term_that_stands_unexplained_is_found(text: str, found: set[str]) -> None:
    assert set(terms.unexplained(terms.plain(text), SMALL)) == found


def test_what_a_room_before_explains_is_known() -> None:
    before = terms.explained(terms.plain("The *loss*, a [KL](../docs/glossary.md), policy."), SMALL)
    assert before == {"loss", "KL divergence"}
    found = terms.unexplained("policy, loss and KL", SMALL, before)
    assert found == {"policy": "policy, loss and KL"}


def test_what_is_folded_or_code_explains_nothing() -> None:
    cells = [
        new_markdown_cell("A policy.\n\n<details>\n\n- **loss**: x.\n\n</details>"),
        new_code_cell("# the *loss*"),
        new_markdown_cell(f"{notebooks.MORE}\n\nThe *loss*."),
    ]
    text = terms.prose(nbformat.v4.new_notebook(cells=cells))
    assert terms.explained(text, SMALL) == set()
    assert set(terms.unexplained(text, SMALL)) == {"policy"}


def test_a_room_of_the_road_knows_those_before_it_and_a_side_room_the_road() -> None:
    road, side = notebooks.rooms()
    assert terms.before(road[0]) == []
    assert terms.before(road[2]) == road[:2]
    assert terms.before(side[1]) == road


def test_an_abbreviation_that_is_not_listed_is_found() -> None:
    text = "KL, KLs, a non-KL, NumPy, GPT-4, MT-bench, McNemar, DPO, two XYs"
    assert terms.unlisted(text, SMALL) == {"McNemar", "DPO", "XYs"}
