"""The tools notice what is bad on purpose: notebooks, Pythons, half-made environments."""

import asyncio
import base64
import copy
import errno
import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from queue import Empty

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelspec import get_kernel_dict
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dpo_edu import ledger
from tools import bootstrap, check, exercises, notebooks, proofs, run

EVERY_NOTEBOOK = [*notebooks.numbered(), *sorted(exercises.EXERCISES.glob("s*/*/*.ipynb"))]


def picture(sign: float = 1.0, width: float = 2.0, size: float = 4.0) -> str:
    """A figure with two curves, as a notebook stores it; `sign` turns one of them over."""
    x = np.linspace(-3, 3, 200)
    figure, axes = plt.subplots(figsize=(size, 3), dpi=160)
    axes.plot(x, np.tanh(x), linewidth=width)
    axes.plot(x, sign * np.sin(x) ** 3, linewidth=width)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return base64.b64encode(file.getvalue()).decode()


def executed_notebook() -> NotebookNode:
    """A small notebook with nothing wrong: text, a printed line and a figure."""
    text = new_output("stream", name="stdout", text="KL <= 1e-12 nats\n")
    data = {"image/png": picture(), "text/plain": "<Figure size 320x240 with 1 Axes>"}
    figure = new_output("display_data", data=data)
    cells = [
        new_markdown_cell("# Try", id="title"),
        new_code_cell("print('KL <= 1e-12 nats')", id="text", execution_count=1, outputs=[text]),
        new_code_cell("plt.show()", id="figure", execution_count=2, outputs=[figure]),
    ]
    return new_notebook(metadata={"kernelspec": notebooks.KERNELSPEC}, cells=cells)


@pytest.fixture
def good() -> NotebookNode:
    return executed_notebook()


def test_a_good_notebook_has_no_problem_and_equals_itself(good: NotebookNode) -> None:
    assert check.static_problems(good) == []
    assert stale(good, copy.deepcopy(good)) == []


def stale(committed: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Where the outputs of the cells part."""
    cells = zip(committed.cells[1:], fresh.cells[1:], strict=True)
    return [text for old, new in cells for text in check.unlike(old.outputs, new.outputs)]


def clear_outputs(nb: NotebookNode) -> None:
    nb.cells[2].outputs = []


def clear_everything(nb: NotebookNode) -> None:
    for cell in nb.cells[1:]:
        cell.outputs, cell.execution_count = [], None


def skip_a_cell(nb: NotebookNode) -> None:
    nb.cells[2].execution_count = 3


def swap_two_cells(nb: NotebookNode) -> None:
    nb.cells[1].execution_count, nb.cells[2].execution_count = 2, 1


def write_to_stderr(nb: NotebookNode) -> None:
    nb.cells[1].outputs[0].name = "stderr"


def raise_an_error(nb: NotebookNode) -> None:
    error = new_output("error", ename="ClaimFailed", evalue="G4", traceback=[])
    nb.cells[1].outputs.append(error)


def show_a_path(nb: NotebookNode) -> None:
    nb.cells[1].outputs[0].text = "saved in /home/ada/figures/gibbs.png"


def show_a_windows_path(nb: NotebookNode) -> None:
    nb.cells[2].outputs[0].data["text/html"] = r"<a>C:\Users\ada</a>"


def read_from_a_path(nb: NotebookNode) -> None:
    nb.cells[1].source = "print(open('/Users/ada/votes.csv').read())"


def change_the_kernelspec(nb: NotebookNode) -> None:
    nb.metadata.kernelspec = {"name": "ada-env", "display_name": "Ada", "language": "python"}


def keep_the_version(nb: NotebookNode) -> None:
    nb.metadata.language_info = {"name": "python", "version": "3.11.7"}


def keep_the_timing(nb: NotebookNode) -> None:
    nb.cells[1].metadata["execution"] = {"iopub.status.idle": "2026-11-01T00:00:00Z"}


def look_away(nb: NotebookNode) -> None:
    nb.cells[1].metadata["tags"] = ["nbval-ignore-output"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (clear_outputs, "cell figure has lost its output"),
        (clear_everything, "cell text has not been executed"),
        (skip_a_cell, "cell figure was executed as 3, not 2"),
        (swap_two_cells, "cell text was executed as 2, not 1"),
        (write_to_stderr, "cell text writes to stderr: KL"),
        (raise_an_error, "cell text ends in ClaimFailed: G4"),
        (show_a_path, "cell text shows a path of one machine: /home/a"),
        (show_a_windows_path, r"cell figure shows a path of one machine: C:\U"),
        (read_from_a_path, "cell text names a path of one machine: /Users/a"),
        (change_the_kernelspec, "the kernelspec is 'ada-env', not 'python3'"),
        (keep_the_version, "the language version is stored"),
        (keep_the_timing, "cell text stores its timing"),
        (look_away, "cell text asks nbval to look away"),
    ],
)
def test_a_bad_file_is_recognised_without_a_kernel(good, spoil, complaint) -> None:
    spoil(good)
    assert complaint in "\n".join(check.static_problems(good))


def test_stale_text_is_a_difference(good: NotebookNode) -> None:
    fresh = copy.deepcopy(good)
    fresh.cells[1].outputs[0].text = "KL <= 1e-11 nats\n"
    (found,) = stale(good, fresh)
    assert found.startswith("[0].text is stale: 'KL <= 1e-12")


@pytest.mark.parametrize("kind", ["text/latex", "image/svg+xml", ledger.EVIDENCE])
def test_other_stale_kinds_of_output_are_differences(good: NotebookNode, kind: str) -> None:
    fresh = copy.deepcopy(good)
    good.cells[1].outputs.append(new_output("display_data", data={kind: "a"}))
    fresh.cells[1].outputs.append(new_output("display_data", data={kind: "b"}))
    assert len(stale(good, fresh)) == 1


def test_an_output_too_many_or_lost_is_a_difference(good: NotebookNode) -> None:
    fresh = copy.deepcopy(good)
    fresh.cells[1].outputs *= 2
    fresh.cells[2].outputs = []
    assert len(stale(good, fresh)) == 2


def test_a_figure_drawn_again_is_the_same(good: NotebookNode) -> None:
    fresh = copy.deepcopy(good)
    fresh.cells[2].outputs[0].data["image/png"] = picture(width=2.02)
    assert fresh != good
    assert stale(good, fresh) == []


@pytest.mark.parametrize("change", [{"sign": -1.0}, {"size": 4.2}])
def test_a_curve_turned_over_or_another_size_is_a_stale_figure(good, change) -> None:
    fresh = copy.deepcopy(good)
    fresh.cells[2].outputs[0].data["image/png"] = picture(**change)
    (found,) = stale(good, fresh)
    assert found.startswith("the figure ")


@pytest.mark.parametrize(("sign", "stale_now"), [(1.0, False), (-1.0, True)])
def test_the_picture_that_a_widget_shows_is_compared_as_a_picture(good, sign, stale_now) -> None:
    fresh = copy.deepcopy(good)
    for book, width, turned in ((good, 2.0, 1.0), (fresh, 2.02, sign)):
        buffers = [{"data": picture(turned, width), "encoding": "base64", "path": ["value"]}]
        book.metadata.widgets = {"state": {"1": {"buffers": buffers}}}
    assert bool(check.widget_differences(good, fresh)) == stale_now


def test_a_mean_over_the_whole_picture_would_miss_the_curve() -> None:
    """The reason for blocks: the same two figures agree within 1 % as a whole."""
    whole = [np.asarray(check.grey(picture(sign)), float).mean() / 255 for sign in (1, -1)]
    assert abs(whole[0] - whole[1]) < 0.01
    assert list(check.pictures_differ(picture(1), picture(-1)))


def test_normalising_drops_what_no_rerun_repeats(good: NotebookNode) -> None:
    keep_the_version(good)
    keep_the_timing(good)
    good.metadata.widgets = {"state": {"ab" * 16: {"layout": "cd" * 16}, "cd" * 16: {}}}
    result = notebooks.normalised(good)
    assert check.static_problems(result) == []
    first, second = f"{1:032x}", f"{2:032x}"
    assert result.metadata.widgets == {"state": {first: {"layout": second}, second: {}}}


def test_a_normalised_notebook_says_what_jupyterlab_fills_in_from_the_kernel(good) -> None:
    kernel = {k: v for k, v in IPythonKernel.language_info.items() if k != "version"}
    spec = get_kernel_dict()
    metadata = notebooks.normalised(good).metadata
    assert metadata.language_info == kernel
    assert metadata.kernelspec == {
        k: spec.get(k, "python3") for k in ("name", "display_name", "language")
    }


@pytest.mark.parametrize("path", EVERY_NOTEBOOK, ids=lambda path: path.stem)
def test_a_notebook_is_not_modified_by_being_opened(path: Path) -> None:
    metadata = notebooks.read(path).metadata
    assert (metadata.kernelspec, metadata.language_info) == (
        notebooks.KERNELSPEC,
        notebooks.LANGUAGE,
    )


def test_whole_numbers_are_written_as_javascript_writes_them(good: NotebookNode) -> None:
    good.metadata.widgets = {"state": {"base": 10.0, "value": 0.3}}
    assert '{"base": 10, "value": 0.3}' in json.dumps(notebooks.normalised(good), sort_keys=True)


def test_where_a_widget_cannot_be_shown_a_sentence_says_what_to_do(good: NotebookNode) -> None:
    data = {notebooks.WIDGET: {"model_id": "ab" * 16}, "text/plain": "interactive(children=("}
    good.cells[1].outputs = [new_output("display_data", data=data)]
    (output,) = notebooks.normalised(good).cells[1].outputs
    assert output.data["text/plain"].startswith("Run the notebook")


def write_notebook(folder: Path, *sources: str) -> Path:
    cells = [new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources, 1)]
    path = folder / "01_try.ipynb"
    notebooks.write(new_notebook(metadata={"kernelspec": notebooks.KERNELSPEC}, cells=cells), path)
    return path


@pytest.mark.slow
def test_a_second_execution_changes_no_byte(tmp_path: Path) -> None:
    source = "import ipywidgets\ndisplay(ipywidgets.IntSlider())\nprint({'a', 'b'})"
    path = write_notebook(tmp_path, source)
    notebooks.write(notebooks.executed(path), path)
    first = path.read_bytes()
    notebooks.write(notebooks.executed(path), path)
    assert path.read_bytes() == first


class Sleeper:
    """A channel that notices a message only when it is asked anew, not while it waits."""

    def __init__(self, arrives: int) -> None:
        self.left, self.waited = arrives, 0.0

    async def get_msg(self, timeout: float) -> str:
        self.left -= 1
        if self.left < 0:
            return "message"
        self.waited += timeout
        raise Empty


@pytest.mark.parametrize(("timeout", "waited"), [(600, 0.02), (None, 0.02)])
def test_a_message_that_wakes_nobody_is_found_all_the_same(timeout, waited) -> None:
    channel = Sleeper(2)
    notebooks.waking(channel, seconds=0.01)
    assert asyncio.run(channel.get_msg(timeout=timeout)) == "message"
    assert channel.waited == pytest.approx(waited)


def test_a_message_that_never_comes_is_waited_for_as_long_as_was_said() -> None:
    channel = Sleeper(10**6)
    notebooks.waking(channel, seconds=0.01)
    with pytest.raises(Empty):
        asyncio.run(asyncio.wait_for(channel.get_msg(timeout=0), 5))


def under_nbval(path: Path) -> str:
    """What the suite's pytest says of one notebook."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "tools.fresh", "-o", "addopts=", "--nbval"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        "--color=no",
        "--rootdir",
        str(path.parent),
    ]
    run = subprocess.run([*command, str(path)], cwd=notebooks.ROOT, capture_output=True, text=True)
    return run.stdout


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook that prints, draws and moves a slider, executed."""
    draw = "import matplotlib.pyplot as plt\nplt.plot([0, 1], [0, 1])\nplt.show()"
    slide = "import ipywidgets\nx = ipywidgets.IntSlider(value=3)\ndisplay(x)"
    inside = "out = ipywidgets.Output()\nwith out:\n    print('inside')\nout"
    folder = tmp_path_factory.mktemp("shown")
    path = write_notebook(folder, "print({'a'})", draw, slide, inside, "x.value = 4", "'end'")
    notebooks.write(notebooks.executed(path), path)
    return path


@pytest.mark.slow
def test_nbval_finds_what_was_just_executed_fresh(shown: Path) -> None:
    assert "6 passed" in under_nbval(shown)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda nb: nb.cells[0].outputs[0].update(text="{'c'}\n"), "cell-1: [0].text is stale"),
        (lambda nb: nb.cells[1].outputs[-1].data.update({"image/png": picture()}), "the figure"),
        (lambda nb: nb.cells[1].outputs.clear(), "cell-2: content is stale"),
        (lambda nb: nb.cells[2].outputs.clear(), "cell-3: content is stale"),
        (lambda nb: nb.metadata.update(widgets=json.loads(
            json.dumps(nb.metadata.widgets).replace("inside", "outside"))), "widgets: "),
        (lambda nb: nb.metadata.update(widgets=json.loads(
            json.dumps(nb.metadata.widgets).replace('"value": 4', '"value": 3'))), "widgets: "),
    ],
)  # fmt: skip
def test_nbval_finds_what_is_stale(shown: Path, tmp_path: Path, spoil, said: str) -> None:
    notebook = nbformat.read(shown, 4)
    spoil(notebook)
    notebooks.write(notebook, tmp_path / shown.name)
    found = under_nbval(tmp_path / shown.name)
    assert said in found
    failed = 2 if said.startswith("cell-3") else 1  # without its output a widget has another number
    assert f"{failed} failed, {6 - failed} passed" in found


@pytest.mark.slow
def test_what_was_just_executed_is_compared_and_not_executed_again(
    shown: Path, tmp_path: Path
) -> None:
    path = tmp_path / "just_executed.ipynb"
    copy = notebooks.BUILD / "notebooks" / path.name
    notebook = nbformat.read(shown, 4)
    notebooks.write(notebook, path)
    notebook.metadata["executed_as"] = notebooks.digest(notebook)
    notebook.cells[0].outputs[0].text = "{'another'}\n"
    notebooks.write(notebook, copy)
    try:
        found = under_nbval(path)
        assert "cell-1: [0].text is stale" in found and "1 failed, 5 passed" in found
        changed = nbformat.read(path, 4)
        changed.cells[0].source += "  # as before"
        notebooks.write(changed, path)
        assert "6 passed" in under_nbval(path)  # by a run of its own
    finally:
        copy.unlink()


@pytest.mark.slow
def test_a_copy_counts_as_long_as_nothing_that_it_depends_on_has_changed(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebooks, "BUILD", tmp_path)
    assert notebooks.just_executed(shown) is None
    notebook = nbformat.read(shown, 4)
    notebook.metadata["executed_as"] = notebooks.digest(notebook)
    notebooks.write(notebook, tmp_path / "notebooks" / shown.name)
    assert notebooks.just_executed(shown) == notebook
    monkeypatch.setattr(notebooks, "foundation", lambda: "another package")
    assert notebooks.just_executed(shown) is None


def test_a_failing_notebook_is_named_with_cell_and_error(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "x = 1", "x / 0")
    with pytest.raises(notebooks.NotebookFailed) as caught:
        notebooks.executed(path)
    assert str(caught.value) == "01_try.ipynb, cell cell-2: ZeroDivisionError: division by zero"


def test_a_kernel_that_does_not_start_is_one_sentence(tmp_path: Path, monkeypatch, capfd) -> None:
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit('no kernel today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(notebooks.NotebookFailed) as caught:
        notebooks.executed(write_notebook(tmp_path, "1"))
    assert str(caught.value).startswith("01_try.ipynb: expected a kernel that starts, but: Kernel")
    assert "no kernel today" in capfd.readouterr().err


# --- writing ------------------------------------------------------------------------------------


def full_disk(path: Path, content: bytes) -> None:
    """Write half of it, then run out of room."""
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch) -> None:
    path = write_notebook(tmp_path, "1")
    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match=r"01_try\.ipynb'$"):
        write_notebook(tmp_path, "2")
    assert [(p, p.read_bytes()) for p in tmp_path.iterdir()] == [(path, before)]


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    old, new = tmp_path / "student", tmp_path / "made"
    for folder, text in ((old, "old"), (new, "new")):
        folder.mkdir()
        (folder / "task").write_text(text)
    with pytest.raises(FileNotFoundError):
        exercises.replace(old, tmp_path / "missing")
    assert (old / "task").read_text() == "old"
    exercises.replace(old, new)
    assert (old / "task").read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [new, old]


def test_a_file_is_saved_in_a_folder_that_is_made(tmp_path: Path) -> None:
    notebooks.save(tmp_path / "new" / "page.html", "π*\n")
    assert (tmp_path / "new" / "page.html").read_bytes() == "π*\n".encode()


def test_a_tool_that_cannot_write_ends_in_a_sentence_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "build").touch()
    with pytest.raises(SystemExit) as caught:
        notebooks.ended(lambda: notebooks.save(tmp_path / "build" / "page", ""))
    assert "Expected to write" in caught.value.code and "remove the file" in caught.value.code


def refuse() -> int:
    raise OSError(errno.ECONNREFUSED, "refused")


def test_a_tool_ends_with_its_status_and_other_errors_are_not_swallowed() -> None:
    with pytest.raises(SystemExit, match="^7$"):
        notebooks.ended(lambda: 7)
    with pytest.raises(ConnectionRefusedError):
        notebooks.ended(refuse)


@pytest.mark.parametrize("tool", ["run", "check", "docs", "exercises", "slides"])
def test_a_tool_is_run_by_what_turns_errors_into_sentences(tool: str) -> None:
    assert (
        (notebooks.ROOT / "tools" / f"{tool}.py")
        .read_text("utf-8")
        .endswith('if __name__ == "__main__":\n    notebooks.ended(main)\n')
    )


def test_a_notebook_is_found_by_its_number(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "1")
    for number in ("01", "1", "01_try", "01_try.ipynb", None):
        assert notebooks.numbered(number, tmp_path) == [path]
    assert notebooks.numbered("7", tmp_path) == []


def test_a_notebook_is_found_by_its_slug_and_the_first_by_0(tmp_path: Path) -> None:
    first, other = tmp_path / "00_start.ipynb", tmp_path / "01_go_on.ipynb"
    first.touch()
    other.touch()
    assert notebooks.numbered("go_on", tmp_path) == [other]
    assert notebooks.numbered("0", tmp_path) == [first] == notebooks.numbered("start", tmp_path)


def evidence_notebook(*evidence: ledger.Evidence) -> NotebookNode:
    outputs = [new_output("display_data", data=e._repr_mimebundle_()) for e in evidence]
    return new_notebook(cells=[new_code_cell("", outputs=outputs)])


@pytest.fixture
def two_claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A catalogue of two claims, with their theorems, and a build folder of its own."""
    two = {id: claim for id, claim in ledger.catalogue().items() if id in ("G4", "L2")}
    proved = [e for e in proofs.evidence() if e.claim in two]
    monkeypatch.setattr(ledger, "catalogue", lambda: two)
    monkeypatch.setattr(proofs, "evidence", lambda: proved)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path)


@pytest.mark.usefixtures("two_claims")
@pytest.mark.parametrize("name", ["G4", "L2_differs"])
def test_a_theorem_that_is_not_recorded_is_open(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [e for e in proofs.evidence() if e.note != name]
    monkeypatch.setattr(proofs, "evidence", lambda: others)
    found = run.report({Path("01.ipynb"): evidence_notebook(*G4, L2)}, whole=True)
    assert f"{name[:2]}: theorem {name} is stated in the catalogue, but not proved" in found


@pytest.mark.usefixtures("two_claims")
def test_a_run_says_which_proof_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "stale", lambda: ["proofs/A.v is not the text"])
    found = run.report({Path("01.ipynb"): evidence_notebook(*G4, L2)}, whole=True)
    assert found == ["proofs/A.v is not the text"]


AGREES = {"S": "found - expected = 0 identically", "N": "|found - expected| <= 1e-12"}
G4 = [ledger.Evidence("G4", means, "agrees", held) for means, held in AGREES.items()]
REFUTED = "printed misses by 0.2 >= 0.1; |repaired - truth| <= 1e-12"
L2 = ledger.Evidence("L2", "N", "refuted", REFUTED)


@pytest.mark.usefixtures("two_claims")
def test_the_report_has_a_line_for_each_claim(capsys, tmp_path: Path) -> None:
    assert run.report({Path("01.ipynb"): evidence_notebook(*G4, L2)}, whole=True) == []
    lines = capsys.readouterr().out.splitlines()
    assert "  G4  holds       SNF  S exactly; N to 1e-12; F 1 theorem" in lines
    printed = "N printed misses by 0.2 >= 0.1, repaired to 1e-12"
    assert f"  L2  refuted     NF   {printed}; F 2 theorems" in lines
    assert "2 claims (1 hold, 1 refuted), 3 checks in 1 notebook, 3 theorems." in lines
    assert (tmp_path / "ledger.json").exists()


@pytest.mark.usefixtures("two_claims")
@pytest.mark.parametrize(
    ("evidence", "claim"),
    [
        (G4, "L2"),
        ([G4[0], L2], "G4"),
        ([*G4, L2, ledger.Evidence("G4", "N", "refuted", "")], "G4"),
        ([*G4, L2, ledger.Evidence("Q9", "N", "agrees", "")], "Q9"),
    ],
)
def test_missing_clashing_and_unknown_evidence_is_open(evidence, claim: str) -> None:
    (found,) = run.report({Path("01.ipynb"): evidence_notebook(*evidence)}, whole=True)
    assert found.startswith(f"{claim}:")


def test_a_line_of_the_ledger_names_the_range_of_bounds_and_the_failing_case() -> None:
    near = ledger.Evidence("L4", "N", "agrees", "|found - expected| <= 0.002")
    broken = ledger.Evidence("L4", "N", "counterexample", "graph in two parts: misses by 0.2")
    close = ledger.Evidence("L4", "N", "agrees", AGREES["N"])
    assert run.held([near, close, broken]) == "N to 1e-12 ... 0.002 (fails: graph in two parts)"
    assert run.held([]) == "no evidence"


def test_a_line_of_the_ledger_counts_inequalities_and_names_relative_bounds() -> None:
    orders = ["left < right, by 0.3 or more", "left - right is negative whatever its symbols"]
    assert run.agreement([*orders, "|found - expected| <= 1e-06 |expected|"]) == (
        "to 1e-06 of the value, 2 inequalities"
    )
    assert run.agreement(["found = expected", orders[0]]) == "exactly, 1 inequality"


@pytest.mark.usefixtures("two_claims")
def test_one_notebook_alone_shows_evidence_against_the_catalogue() -> None:
    against = ledger.Evidence("G4", "N", "counterexample", "never: misses by 1 >= 0.5")
    (found,) = run.report({Path("01.ipynb"): evidence_notebook(against)}, whole=False)
    assert found == f"G4: the catalogue says holds, against it: {against}"


def test_a_missing_notebook_ends_a_run_with_a_sentence() -> None:
    assert run.main(["--nb", "99"]) == "There is no notebook 99 in notebooks/."


# --- setting up ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13)])
def test_an_old_python_gets_one_sentence_with_the_remedy(version: tuple[int, ...]) -> None:
    found = bootstrap.complaint(version, lambda _: True)
    assert f"this is Python {version[0]}.{version[1]}" in found
    assert "PYTHON=python3" in found


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_missing_venv_module_gets_one_sentence_with_the_remedy(missing: str) -> None:
    assert "apt install python3-venv" in bootstrap.complaint((3, 12, 0), lambda n: n != missing)


def test_this_python_will_do() -> None:
    assert bootstrap.complaint(sys.version_info, bootstrap.has_module) == ""
    assert not bootstrap.has_module("no_such_module")


def test_bootstrap_is_written_in_the_syntax_of_old_pythons() -> None:
    import ast

    source = Path(bootstrap.__file__).read_text("utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.JoinedStr)]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[list[str]]]:
    """A checkout in a folder with a space, and a record of commands instead of running them."""
    root, calls = tmp_path / "a checkout", []
    root.mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        (root / name).write_text("x\n")

    def record(command: list[str], **_: object) -> None:
        calls.append(command)
        python = Path(bootstrap.python_in(str(root / ".venv")))
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    monkeypatch.setattr(bootstrap.subprocess, "check_call", record)
    monkeypatch.setattr(bootstrap, "create", lambda _: record(["python", "-m", "venv"]))
    return root, calls


def modules(calls: list[list[str]]) -> list[str]:
    return [command[2] for command in calls]


def test_setting_up_twice_installs_once_and_again_when_the_pins_change(checkout) -> None:
    root, calls = checkout
    assert bootstrap.main(str(root)) == 0
    assert modules(calls) == ["venv", "pip"]
    calls.clear()
    assert bootstrap.main(str(root)) == 0
    assert calls == []
    (root / "constraints.txt").write_text("y\n")
    assert bootstrap.main(str(root)) == 0
    assert modules(calls) == ["pip"]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


STEPS = [(bootstrap.shutil, "rmtree"), (bootstrap, "create"), (subprocess, "check_call")]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
def test_an_interrupted_installation_is_one_sentence_and_made_anew(
    checkout, monkeypatch, capsys, step
) -> None:
    root, calls = checkout
    (root / ".venv" / "lib").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(*step, interrupt)
        assert bootstrap.main(str(root)) == 130
    assert capsys.readouterr().err == (
        "\nInterrupted: .venv is half-made; the next command makes it anew.\n"
    )
    (root / ".venv" / "half").touch()
    calls.clear()
    assert bootstrap.main(str(root)) == 0
    assert modules(calls) == ["venv", "pip"]
    assert not (root / ".venv" / "half").exists()


def test_a_file_in_the_place_of_the_environment_is_one_sentence(checkout) -> None:
    root, _ = checkout
    (root / ".venv").touch()
    assert bootstrap.main(str(root)).startswith("Expected to write .venv, but: [Errno 17]")


@pytest.mark.slow
def test_an_environment_is_made_with_pip(tmp_path: Path) -> None:
    bootstrap.create(str(tmp_path / "new"))
    python = bootstrap.python_in(str(tmp_path / "new"))
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0


def test_a_failed_installation_is_one_sentence(checkout, monkeypatch) -> None:
    root, _ = checkout

    def fail(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(bootstrap.subprocess, "check_call", fail)
    assert "installation failed" in bootstrap.main(str(root))


def test_the_cpu_build_is_installed_first_and_from_its_index(checkout) -> None:
    root, calls = checkout
    assert bootstrap.main(str(root), "https://example.org/cpu") == 0
    assert calls[1][-4:] == ["--no-deps", "--index-url", "https://example.org/cpu", "torch"]
    assert calls[2][-2:] == ["-e", ".[dev]"]


def test_importing_the_tools_runs_nothing(capsys) -> None:
    for module in (bootstrap, check, notebooks, run):
        importlib.reload(module)
    assert capsys.readouterr().out == ""
