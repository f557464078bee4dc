"""One thread, no display, the kernels' environment; tests of what not everybody has."""

import importlib.util
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tools import notebooks

notebooks.prepare()  # before anything imports numpy or torch: they read the thread counts once

import matplotlib  # noqa: E402

from tools import judge  # noqa: E402

pytest_plugins = ["tools.fresh"]

matplotlib.use("Agg")
settings.register_profile("suite", deadline=None)  # a busy machine is no failure
settings.load_profile("suite")
os.environ.pop("MPLBACKEND", None)  # kernels inherit the environment and draw inline


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the notebooks that only `make lm` executes."""
    return True if collection_path in APART else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked for something that is not here, or that is tried when asked for."""
    kinds = (
        ("gpu", has_cuda),
        ("coq", has_coq),
        ("lm", has_lm),
        ("browser", has_browser),
        ("site", has_site),
        ("bubblewrap", judge.is_confining),
        ("hostile", lambda: "hostile" in config.getoption("markexpr")),
        ("classroom", lambda: "classroom" in config.getoption("markexpr")),
    )
    for mark, there in kinds:
        marked = [item for item in items if item.get_closest_marker(mark)]
        if marked and not there():
            items[:] = [item for item in items if item not in marked]
            config.hook.pytest_deselected(items=marked)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a sentence what a run of the whole suite left out."""
    config = terminalreporter.config
    if config.args_source == pytest.Config.ArgsSource.TESTPATHS:
        if not has_coq():
            terminalreporter.write_line(WITHOUT_COQ)
        if not (has_browser() and has_site()):
            terminalreporter.write_line(WITHOUT_SITE)
        if not judge.is_confining():
            terminalreporter.write_line(WITHOUT_BUBBLEWRAP)
        terminalreporter.write_line(WITHOUT_LM)


def has_cuda() -> bool:
    """Whether PyTorch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def has_lm() -> bool:
    """Whether the extra `lm` is installed."""
    return importlib.util.find_spec("peft") is not None


def has_browser() -> bool:
    """Whether Chromium can be found."""
    import chromium

    return chromium.program() is not None


def has_site() -> bool:
    """Whether the extra `site` is installed, and npm."""
    return importlib.util.find_spec("myst_nb") is not None and shutil.which("npm") is not None


def has_coq() -> bool:
    """Whether Coq's compiler can be found."""
    return shutil.which("coqc") is not None


WITHOUT_LM = (
    "The real language model was not trained, the committed outputs of its notebooks were read;"
    " `make lm` trains it, and with what it installs its module is tested here as well."
)
WITHOUT_SITE = (
    "The site was not built and tried: that needs Chromium, npm and the extra site, which"
    " `make browser-test` installs."
)
WITHOUT_BUBBLEWRAP = (
    "There is no bubblewrap here: whether hostile hand-ins reach the disk was not tried."
)
WITHOUT_COQ = (
    "There is no Coq here: the formal proofs were not checked again, their record was compared"
    " with the sources and with the claims."
)
APART = {path for path in notebooks.numbered() if notebooks.is_apart(path)}
SLUGS = {notebooks.slug(path) for path in notebooks.numbered()}


class ByNotebook(LoadScopeScheduling):
    """A worker takes all tests of a file, or those about one notebook where a file has several."""

    def _split_scope(self, nodeid: str) -> str:
        slug = re.search(r"\[(?:\d\d_)?([a-z_]+)[-\]]", nodeid)
        return super()._split_scope(nodeid) + (slug[1] if slug and slug[1] in SLUGS else "")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByNotebook:
    """Spread the slow tests evenly over the workers."""
    return ByNotebook(config, log)
