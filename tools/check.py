"""Are the committed outputs what the notebooks say today? Nothing here changes a file.

python -m tools.check [--nb 07]
"""

import argparse
import base64
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from nbformat import NotebookNode
from PIL import Image, ImageChops

from tools import notebooks

BLOCK = 32  # pixels, of which a figure has two to a point of the screen
GREY_SHARE = 0.05  # of the range from black to white, for the mean of any one block
PNG = "iVBORw0KGgo"  # how a picture begins in base64
SPEAKS = re.compile(r"^(ledger\.(?!watch\b)\w+|print|display|plt\.show)\(", re.MULTILINE)
LOOKS_AWAY = re.compile(r"NBVAL_|PYTEST_VALIDATE|nbval-|raises-exception")
MACHINE_PATH = re.compile(r"(?<![\w.])(/(home|Users|root|tmp|var|work|mnt|private)/\w|[A-Z]:\\\w)")


def static_problems(notebook: NotebookNode) -> list[str]:
    """What the file alone shows: outputs cleared, out of order, noisy, of one machine."""
    found = []
    if (name := notebook.metadata.get("kernelspec", {}).get("name")) != "python3":
        found.append(f"the kernelspec is {name!r}, not 'python3'")
    if "version" in notebook.metadata.get("language_info", {}):
        found.append("the language version is stored")
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for count, cell in enumerate(code, 1):
        if cell.execution_count is None:
            found.append(f"cell {cell.id} has not been executed")
        elif cell.execution_count != count:
            found.append(f"cell {cell.id} was executed as {cell.execution_count}, not {count}")
        if SPEAKS.search(cell.source) and not cell.outputs:
            found.append(f"cell {cell.id} has lost its output")
        if "execution" in cell.metadata:
            found.append(f"cell {cell.id} stores its timing")
        if LOOKS_AWAY.search(f"{cell.source}{cell.metadata.get('tags', '')}"):
            found.append(f"cell {cell.id} asks nbval to look away")
        found += [f"cell {cell.id} {problem}" for o in cell.outputs for problem in noise(o)]
    for cell in notebook.cells:
        if path := MACHINE_PATH.search(cell.source):
            found.append(f"cell {cell.id} names a path of one machine: {path[0]}")
    return found


def noise(output: NotebookNode) -> Iterator[str]:
    """An error, a message on stderr, a path of somebody's machine."""
    if output.output_type == "error":
        yield f"ends in {output.ename}: {output.evalue}"
    if output.get("name") == "stderr":
        yield f"writes to stderr: {output.text.strip()[:80]}"
    texts = [
        output.get("text", ""),
        *(v for k, v in output.get("data", {}).items() if "png" not in k),
    ]
    if path := MACHINE_PATH.search("\n".join(map(str, texts))):
        yield f"shows a path of one machine: {path[0]}"


def widget_differences(committed: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Where the widgets of a fresh run are in another state."""
    widgets = (nb.metadata.get("widgets", {}) for nb in (committed, fresh))
    return [f"widgets: {text}" for text in unlike(*widgets)]


def plain(cell: NotebookNode) -> dict[str, Any]:
    """What of a cell must be the same in a fresh run."""
    return {"source": cell.source, "outputs": cell.get("outputs", [])}


def unlike(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Walk two trees of outputs side by side and say where they part."""
    place = where.lstrip(".") or "content"
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key in old:
            if all(str(tree[key]).startswith(PNG) for tree in (old, new)):
                yield from (f"{text} ({place})" for text in pictures_differ(old[key], new[key]))
            elif key != "execution_count":
                yield from unlike(old[key], new[key], f"{where}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from unlike(*pair, f"{where}[{index}]")
    elif old != new:
        yield f"{place} is stale: {short(old)} committed, {short(new)} now"


def short(value: Any) -> str:
    """At most a line of a value."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def pictures_differ(old: str, new: str) -> Iterator[str]:
    """Two PNGs differ in size, or some 32 x 32 block differs in mean grey by more than 5 %."""
    a, b = grey(old), grey(new)
    if a.size != b.size:
        yield f"the figure was {a.size[0]} x {a.size[1]} pixels, now {b.size[0]} x {b.size[1]}"
        return
    worst = ImageChops.difference(a.reduce(BLOCK), b.reduce(BLOCK)).getextrema()[1] / 255
    if worst > GREY_SHARE:
        yield f"the figure is stale: a block differs by {worst:.0%} in mean grey"


def grey(png: str) -> Image.Image:
    """A base64 PNG as shades of grey on white paper."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("L")


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks under nbval with the comparison of `tools.fresh`; 1 if one is stale."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nb", metavar="NN", help="only this notebook, such as 07")
    found = notebooks.numbered(parser.parse_args(arguments).nb)
    paths = [path for path in found if not notebooks.is_apart(path)]
    if found and not paths:
        print("Only `make lm` executes it; `python -m tools.lm` compares what may not vary.")
        return 0
    flaws = [f"{path.stem}: {x}" for path in paths for x in static_problems(notebooks.read(path))]
    print(*flaws, sep="\n", end="\n" * bool(flaws))
    options = ["-n", "2", "--dist", "loadscope", "--nbval", "-o", "addopts=", "-q"]
    stale = bool(flaws) or pytest.main([*options, *map(str, paths)]) != 0 if paths else True
    print("Run `make notebooks`, and look at what changed." if stale else "All outputs are fresh.")
    return int(stale)


if __name__ == "__main__":
    notebooks.ended(main)
