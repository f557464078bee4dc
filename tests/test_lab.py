"""JupyterLab as `make lab` opens it: one door for all, nothing in the way, nothing modified."""

import asyncio
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from traitlets.config.loader import Config, PyFileConfigLoader

from tools import notebooks

pytestmark = pytest.mark.slow

FOLDER = notebooks.ROOT / "tools" / "lab"
LECTURE = "03_derive_it_again_by_lagrange.ipynb"


@pytest.fixture(scope="module")
def config() -> Config:
    return PyFileConfigLoader("conf.py", str(FOLDER)).load_config()


def test_make_lab_and_the_readme_open_jupyterlab_in_the_same_way() -> None:
    make = (notebooks.ROOT / "Makefile").read_text("utf-8")
    readme = (notebooks.ROOT / "README.md").read_text("utf-8")
    (made,) = re.findall(r"^\t@\$\(VENV\) -m jupyterlab (.+)$", make, re.MULTILINE)
    assert re.findall(r"^jupyter lab (.+?) +the same as make lab$", readme, re.MULTILINE) == [made]
    assert (notebooks.ROOT / made.removeprefix("--config=")).samefile(FOLDER / "conf.py")


@pytest.mark.parametrize("name", [LECTURE, "01_state_the_objective.ipynb"])
def test_a_notebook_opened_and_saved_is_the_same_to_the_byte(config, tmp_path, name) -> None:
    path = shutil.copy(notebooks.FOLDER / name, tmp_path)
    contents = config.ServerApp.contents_manager_class(root_dir=str(tmp_path))
    opened = asyncio.run(contents.get(name))
    assert opened["content"]["metadata"]["language_info"]["version"] == platform.python_version()
    asyncio.run(contents.save({"type": "notebook", "content": opened["content"]}, name))
    assert Path(path).read_bytes() == (notebooks.FOLDER / name).read_bytes()


def test_a_file_that_is_not_a_notebook_is_left_alone(config, tmp_path: Path) -> None:
    contents = config.ServerApp.contents_manager_class(root_dir=str(tmp_path))
    asyncio.run(contents.save({"type": "file", "format": "text", "content": "x"}, "x.txt"))
    assert asyncio.run(contents.get("x.txt"))["content"] == "x"
    assert asyncio.run(contents.get(""))["type"] == "directory"


def answer(address: str) -> tuple[str, str]:
    """The address that a server leads to from another one, and the page."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(address) as reply:
                return reply.url, reply.read().decode()
        except urllib.error.URLError as error:  # it is not up yet
            if isinstance(error, urllib.error.HTTPError):
                raise
            time.sleep(0.5)
    raise TimeoutError(address)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """The address of a JupyterLab started as the Makefile does, by a reader without settings."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = str(tmp_path_factory.mktemp("home"))
    own = {"JUPYTER_CONFIG_DIR": home, "JUPYTER_RUNTIME_DIR": home}
    open_to_all = [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--allow-root"]
    command = [sys.executable, "-m", "jupyterlab", f"--config={FOLDER / 'conf.py'}", "--no-browser"]
    running = subprocess.Popen(
        [*command, *open_to_all], cwd=home, env=os.environ | own, stderr=subprocess.DEVNULL
    )
    yield f"http://127.0.0.1:{port}"
    running.terminate()
    running.wait()


def test_it_opens_on_the_readme_wherever_it_is_started(server: str) -> None:
    assert answer(server)[0] == f"{server}/lab/tree/README.md"
    assert json.loads(answer(f"{server}/api/contents/docs")[1])["type"] == "directory"


def test_nothing_of_grading_is_in_the_way(server: str) -> None:
    page = answer(f"{server}/lab")[1]
    told = json.loads(re.search(r'application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert told["disabledExtensions"] == ["@jupyter/nbgrader"]
    assert "@jupyter/nbgrader" in [extension["name"] for extension in told["federated_extensions"]]


def test_a_reader_without_settings_is_asked_nothing_and_sees_pages_rendered(server: str) -> None:
    for plugin, values in json.loads((FOLDER / "overrides.json").read_text("utf-8")).items():
        known = json.loads(answer(f"{server}/lab/api/settings/{plugin}")[1])["schema"]["properties"]
        assert {name: known[name]["default"] for name in values} == values
