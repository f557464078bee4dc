"""How Sphinx makes the site of what `tools/site.py` has laid out (`make site`)."""

import importlib.util
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import apidoc, site  # noqa: E402

project = "dpo-edu"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "version"
]
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
extensions += ["sphinx.ext.viewcode"]
exclude_patterns: list[str] = []

nb_execution_mode = "off"
nb_number_source_lines = False
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline"]
myst_dmath_double_inline = True
myst_update_mathjax = False  # site/mathjax.js says all
myst_heading_anchors = 4
# Links that `tools/site.py` has made: to a page of the site, and to a place on one.
READY = {site.PAGE: {"url": "{{path}}"}, site.PLACE: {"url": "{{path}}#{{fragment}}"}}
myst_url_schemes = {"http": None, "https": None, "mailto": None, **READY}

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and units, which types do not
autodoc_mock_imports = [
    name for name in ("transformers", "peft") if not importlib.util.find_spec(name)
]
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "Notes")]
viewcode_follow_imported_members = False
default_role = "py:obj"

mathjax_path = "mathjax/startup.js"
mathjax_config_path = "mathjax.js"

html_theme = "furo"
html_title = "dpo-edu"
html_static_path = ["static", str(site.STATIC)]
html_extra_path = [str(site.EXTRA)]
html_favicon = "static/favicon.svg"
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#005a8c", "color-brand-content": "#005a8c"},
    "dark_css_variables": {"color-brand-primary": "#6cb8e6", "color-brand-content": "#6cb8e6"},
}

DERIVING = {path.stem for path in (site.STATIC / "live" / "cells").glob("*.json")}


def mended(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Name what has no name, and let the pages that derive do so in the browser."""
    for part, old, new in (
        ("furo_navigation_tree", 'role="heading"', 'role="heading" aria-level="2"'),
        ("body", '<summary aria-label="Toggle hidden content">', "<summary>"),
    ):
        context[part] = context.get(part, "").replace(old, new)
    if page.rpartition("/")[2] in DERIVING:
        app.add_js_file("live/live.js", type="module")
        app.add_css_file("live/live.css")


def setup(app: Any) -> None:
    """Typeset the formulas of docstrings; mend the pages."""
    app.connect("autodoc-process-docstring", apidoc.process, priority=100)
    app.connect("html-page-context", mended, priority=900)
