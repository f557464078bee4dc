"""Find the notebooks, run one in a fresh kernel, write it so that a second run changes no byte."""

import atexit
import errno
import hashlib
import importlib.metadata
import json
import os
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from queue import Empty
from typing import Any, NoReturn

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
ROOMS = FOLDER / "rooms.toml"
BUILD = ROOT / "build"
# What JupyterLab takes from the kernel when it opens a notebook. Where a file says otherwise it
# counts as modified at once; the version of Python is left out, since it is each reader's own.
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
WIDGET = "application/vnd.jupyter.widget-view+json"
FOLDED = re.compile(r".*-(figure|check|data)")  # ids of cells that stand folded, as the tag says
FOLD, OPEN = "hide-input", "open"
MORE = "## More evidence"
WIDGET_TEXT = "Run the notebook to see what can be moved here."
REMEDIES = {  # where a file cannot be written
    errno.ENOSPC: "make room on the disk",
    errno.EROFS: "use a disk that can be written to",
    errno.ENOTDIR: "remove the file that stands in the way of a folder",
    errno.EEXIST: "remove the file that stands in the way of a folder",
    errno.EISDIR: "remove the folder that stands in the way of a file",
    errno.EACCES: "get permission to write there",
    errno.EPERM: "get permission to write there",
}
TIMEOUT_SECONDS = 600  # for one cell; a notebook as a whole is meant to need less than a minute


class NotebookFailed(Exception):
    """A cell raised, hung or killed its kernel; the message names notebook, cell and error."""


def ended(main: Callable[[], int | str | None]) -> NoReturn:
    """Run a tool and leave with its status; where the system refuses, with one sentence instead."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr, flush=True)
        os._exit(130)  # kernels end with their parent; waiting for them would take a minute
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        sys.exit(
            f"Expected to write {error.filename or 'a file'}, but: {error.strerror}; "
            f"{REMEDIES[error.errno]} and run it again."
        )


def numbered(number: str | None = None, folder: Path = FOLDER) -> list[Path]:
    """Every notebook in reading order, or the one with this number or slug (``07``, ``7``)."""
    every = sorted(folder.glob("[0-9][0-9]*_*.ipynb"))
    if not number:
        return every
    if digits := re.match(r"\d*", number)[0]:
        return [path for path in every if path.name.startswith(f"{digits.zfill(2)}_")]
    return [path for path in every if slug(path) == number]


def rooms() -> tuple[list[str], list[str]]:
    """The slugs of the road and of the side rooms in their order, those to come included."""
    parts = tomllib.loads(ROOMS.read_text("utf-8"))
    return parts["road"], parts["side"]


def is_apart(path: Path) -> bool:
    """Whether only `make lm` executes a notebook, and neither `make run` nor `make test`."""
    return slug(path) in tomllib.loads(ROOMS.read_text("utf-8"))["apart"]


def slug(path: Path) -> str:
    """A notebook's name without its number, by which everything refers to it."""
    return path.stem.partition("_")[2]


def environment() -> dict[str, str]:
    """The kernel's environment: one thread, fixed hashes and dates, no bars, nobody's settings."""
    env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "PYTHONWARNINGS")}
    single = ("OMP", "MKL", "OPENBLAS", "VECLIB", "NUMEXPR")
    env |= {f"{name}_NUM_THREADS": "1" for name in single}
    env |= {"SOURCE_DATE_EPOCH": "0", "PYTHONHASHSEED": "0", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env |= {"TQDM_DISABLE": "1"}  # nobody watches, and outputs would keep them
    env |= {"JUPYTER_PREFER_ENV_PATH": "1", "IPYTHONDIR": str(BUILD / "ipython")}
    env |= {"MPLCONFIGDIR": str(BUILD / "matplotlib"), "MATPLOTLIBRC": str(FOLDER / "matplotlibrc")}
    return env


def prepare() -> None:
    """Let matplotlib write its font cache now, or the first kernel to need it says so on stderr."""
    os.environ |= environment()
    os.environ.pop("MPLBACKEND", None)
    for folder in ("ipython", "matplotlib"):
        (BUILD / folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=BUILD) as room:  # or a kernel would fail, and say so at length
        room.write(bytes(2**20))
    import matplotlib.font_manager  # noqa: F401


def read(path: Path) -> NotebookNode:
    """The notebook as a tree, in the current format."""
    return nbformat.read(path, as_version=4)


def save(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all, whatever happens meanwhile, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content if isinstance(content, bytes) else content.encode())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def write(notebook: NotebookNode, path: Path) -> None:
    """Write it with sorted keys and an end of line, leaving an unchanged file untouched."""
    text = nbformat.writes(notebook) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        save(path, text)


def with_numbered_ids(text: str) -> str:
    """Every id of 32 hexadecimal digits replaced by a number, in the order of first appearance."""
    numbers: dict[str, str] = {}

    def numbered_id(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"{len(numbers) + 1:032x}")

    return re.sub(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", numbered_id, text)


def as_javascript(number: str) -> int | float:
    """A number as JavaScript writes it: 10 for 10.0."""
    value = float(number)
    return int(value) if value.is_integer() else value


def normalised(notebook: NotebookNode) -> NotebookNode:
    """Without timings, the language's version or random ids, which no rerun could repeat.

    Where a widget cannot be shown, its text says what to do, not what it is made of. Cells are
    folded, and figures described, as their ids, tags and first comments say.
    What is left is what JupyterLab writes, so opening and saving a notebook changes no byte either.
    """
    text = with_numbered_ids(json.dumps(notebook))
    for _ in range(9):  # written with sorted keys the ids appear in another order; this settles it
        text = with_numbered_ids(json.dumps(json.loads(text), sort_keys=True))
    result = nbformat.from_dict(json.loads(text, parse_float=as_javascript))
    result.metadata.pop("execution", None)
    if result.metadata.get("kernelspec", {}).get("name") == "python3":
        result.metadata.update(kernelspec=KERNELSPEC, language_info=LANGUAGE)
    for cell in result.cells:
        cell.metadata.pop("execution", None)
        fold(cell)
        describe(cell)
        for output in cell.get("outputs", []):
            if WIDGET in output.get("data", {}):
                output.data["text/plain"] = WIDGET_TEXT
    return result


def fold(cell: NotebookNode) -> None:
    """Fold the code of figures, checks, data and plumbing, and the section of further evidence.

    Figures, checks and data are known by the ends of their ids, unless they are tagged ``open``,
    plumbing by the tag ``hide-input``.
    """
    if cell.cell_type == "markdown":
        if cell.source.startswith(MORE):
            cell.metadata["jp-MarkdownHeadingCollapsed"] = True
        return
    tags = list(cell.metadata.get("tags", []))
    if FOLDED.fullmatch(cell.get("id", "")) and not {FOLD, OPEN} & set(tags):
        cell.metadata["tags"] = [*tags, FOLD]
    if FOLD in cell.metadata.get("tags", []):
        cell.metadata.setdefault("jupyter", {})["source_hidden"] = True


def describe(cell: NotebookNode) -> None:
    """Give a figure its alternative text: the comment with which the cell begins."""
    shown = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    comment = re.match(r"(?:# .*\n)+", cell.source)
    if cell.cell_type == "code" and comment and (shown or cell.get("id", "").endswith("-figure")):
        text = " ".join(line.removeprefix("# ") for line in comment[0].splitlines())
        cell.metadata["mystnb"] = {"image": {"alt": text}}
        for output in shown:
            output.metadata.setdefault("image/png", {})["alt"] = text


@cache
def foundation() -> str:
    """A digest of what every notebook stands on: the package, the pins, Python, the libraries."""
    files = [p for p in sorted((ROOT / "dpo_edu").rglob("*")) if p.is_file() and p.suffix != ".pyc"]
    found = hashlib.sha256(sys.version.encode())
    for path in [*files, ROOT / "constraints.txt", FOLDER / "matplotlibrc"]:
        found.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    for line in importlib.metadata.requires("dpo-edu") or ():
        if "extra ==" not in line or 'extra == "notebooks"' in line:
            name = re.split(r"[^\w.-]", line)[0]
            found.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    return found.hexdigest()


def digest(notebook: NotebookNode) -> str:
    """Of everything that the outputs of a notebook depend on."""
    code = [f"{cell.id}\n{cell.source}" for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n".join([foundation(), *code]).encode()).hexdigest()


def just_executed(path: Path) -> NotebookNode | None:
    """The copy that `make run` wrote, if nothing that it depends on has changed since."""
    copy = BUILD / "notebooks" / path.name
    if not copy.exists():
        return None
    found = read(copy)
    return found if found.metadata.get("executed_as") == digest(read(path)) else None


def waking(channel: Any, seconds: float = 1.0) -> None:
    """Let a kernel's channel look for messages every second while it waits for one.

    nbclient writes to the shell channel when a widget shows output. A reply that comes meanwhile
    wakes nobody, now and then, and without this the cell waits until its time is up.
    """
    once = channel.get_msg

    async def get_msg(timeout: float | None = None) -> Any:
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return await once(timeout=max(0.0, min(seconds, left)))
            except Empty:
                if left <= seconds:
                    raise

    channel.get_msg = get_msg


def executed(
    path: Path,
    save_failure: Callable[[NotebookNode], None] | None = None,
    seconds: int = TIMEOUT_SECONDS,
) -> NotebookNode:
    """Run every cell in a fresh kernel, in an empty folder, and normalise the result.

    A cell that needs more than so many seconds fails.
    """
    notebook, running = read(path), {"cell": "none"}
    notebook.metadata.pop("widgets", None)  # what was moved in an earlier run
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        client = NotebookClient(
            notebook,
            timeout=seconds,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": empty}},
            on_notebook_start=lambda notebook: waking(client.kc.shell_channel),
            on_cell_start=lambda cell, cell_index: running.update(cell=cell.id),
        )
        try:
            client.execute(env=environment())
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            if save_failure:
                save_failure(notebook)
            said = f"{error.ename}: {error.evalue}" if hasattr(error, "ename") else str(error)
            raise NotebookFailed(f"{path.name}, cell {running['cell']}: {said}") from error
        except RuntimeError as error:
            atexit.unregister(client._cleanup_kernel)  # it would fail where no kernel ever ran
            raise NotebookFailed(
                f"{path.name}: expected a kernel that starts, but: {error} (what it said is above);"
                " `make clean`, then run it again to set up .venv anew."
            ) from error
    return normalised(notebook)
