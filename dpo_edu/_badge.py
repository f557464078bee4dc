"""Evidence in a book made by Sphinx and MyST-NB: a badge that leads to the claim.

MyST-NB finds `Badge` by the entry point ``myst_nb.mime_renderers``. A page of the book has to
define a label ``claim-g4`` for claim G4. Docutils and Sphinx, which the package does not require,
are there when MyST-NB is.
"""

import html
from typing import Any, ClassVar

from dpo_edu._typeset import typeset
from dpo_edu.ledger import EVIDENCE, HEADLINE, MEANS, WORDS, Evidence

LABEL = {"refdomain": "std", "reftype": "ref", "refexplicit": True, "refwarn": True}


def described(evidence: Evidence) -> str:
    """What follows the badge, as HTML.

    >>> described(Evidence("G4", "N", "agrees", "|found - expected| <= 1e-12", "Z = 1"))
    ' numeric, holds: |found − expected| ≤ 1e-12 <i>(Z = 1)</i>'
    """
    note = f" <i>({typeset(evidence.note)})</i>" if evidence.note else ""
    return f" {MEANS[evidence.means]}, {WORDS[evidence.kind]}: {typeset(evidence.held)}{note}"


class Badge:
    """The renderer of the ledger's two kinds of output."""

    mime_priority_overrides: ClassVar = [("*", EVIDENCE, 0), ("*", HEADLINE, 0)]

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[Any] | None:
        """The nodes of an evidence line or of a headline; None for what is neither."""
        if inline or data.mime_type not in (EVIDENCE, HEADLINE):
            return None
        from docutils import nodes
        from sphinx import addnodes

        line = nodes.paragraph(classes=["evidence"])
        if data.mime_type == HEADLINE:
            text = html.escape(f"{data.content['name']}: {data.content['value']}")
            line += nodes.raw("", text, format="html")
            return [line]
        evidence = Evidence(**data.content)
        line["classes"].append(evidence.kind)
        link = addnodes.pending_xref("", nodes.inline("", evidence.claim), **LABEL)
        link["reftarget"] = f"claim-{evidence.claim.lower()}"
        link["refdoc"] = renderer.renderer.sphinx_env.docname
        line += [link, nodes.raw("", described(evidence), format="html")]
        return [line]
